/** All migrations in order. A new one is one file and one line here; old ones are never edited. */
import type { Migration } from "../migrate.ts";
import { migration0001 } from "./0001-first-schema.ts";
import { migration0002 } from "./0002-holds.ts";
import { migration0003 } from "./0003-rollout-control.ts";
import { migration0004 } from "./0004-evidence.ts";
import { migration0005 } from "./0005-soak.ts";
import { migration0006 } from "./0006-arms.ts";
import { migration0007 } from "./0007-detectors.ts";
import { migration0008 } from "./0008-shard-uses.ts";
import { migration0009 } from "./0009-device-windows.ts";
import { migration0011 } from "./0011-retention.ts";
import { migration0012 } from "./0012-assets.ts";
import { migration0013 } from "./0013-cost-tables.ts";

export const migrations: readonly Migration[] = [
  migration0001,
  migration0002,
  migration0003,
  migration0004,
  migration0005,
  migration0006,
  migration0007,
  migration0008,
  migration0009,
  migration0011,
  migration0012,
  migration0013,
];
