/** Tokens: one per person or program. */
import { action, type CommandGroup, clientOf, query } from "../command.ts";
import { show, table, time } from "../output.ts";
import { openSecretFile } from "../secret-file.ts";

export const tokenCommands: CommandGroup = {
  add(program, io) {
    const token = program
      .command("token")
      .description("tokens of the API, one per person or program");
    action(token, "create <name>", "make a token and write it to a file that only you may read", [
      "token create bob --out bob.token",
      "token create bob --out bob.token --json",
    ])
      .requiredOption("--out <file>", "where the token is written")
      .action(async (name: string, options) => {
        const out = openSecretFile(options.out);
        const client = clientOf(io, options);
        const answer = await client.call("createToken", { body: { name } }).catch((error) => {
          out.discard();
          throw error;
        });
        out.keep(`${answer.token}\n`);
        const { token: _token, ...rest } = answer;
        show(io, options, { ...rest, file: options.out }, ({ id }) => `${name} is ${id}.`);
      });
    query(token, "list", "all tokens", ["token list", "token list --json"]).action(
      async (options) => {
        const answer = await clientOf(io, options).call("listTokens");
        show(io, options, answer, ({ tokens }) =>
          table(
            ["token", "name", "made", "revoked"],
            tokens.map(({ id, name, createdAtMs, revokedAtMs }) => [
              id,
              name,
              time(createdAtMs),
              time(revokedAtMs),
            ]),
            "There is no token.",
          ),
        );
      },
    );
    action(token, "revoke <token>", "end a token for good", [
      "token revoke t-0a1b2c3d4e5f6a7b",
      "token revoke t-0a1b2c3d4e5f6a7b --json",
    ]).action(async (id: string, options) => {
      const answer = await clientOf(io, options).call("revokeToken", { params: { token: id } });
      show(io, options, answer, ({ name }) => `${name} opens nothing any more.`);
    });
  },
};
