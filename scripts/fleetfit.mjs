#!/usr/bin/env node
/**
 * The command `fleetfit`. Plain JavaScript because it runs on the system's Node before anything is
 * installed: it installs what is missing and hands over to the command line program.
 */
import { launch } from "./launch.mjs";

process.exitCode = await launch("controller/cli/main.ts", process.argv.slice(2));
