/** JSON lines through pino, to standard error so that standard output stays for results. */
import { type Logger, pino } from "pino";
import type { Log } from "../ports/log.ts";

export function pinoLog(options: { level: string; name: string }): Log {
  return wrap(pino({ level: options.level, name: options.name }, pino.destination(2)));
}

function wrap(logger: Logger): Log {
  return {
    debug: (message, fields = {}) => logger.debug(fields, message),
    info: (message, fields = {}) => logger.info(fields, message),
    warn: (message, fields = {}) => logger.warn(fields, message),
    error: (message, fields = {}) => logger.error(fields, message),
    child: (fields) => wrap(logger.child(fields)),
  };
}
