/**
 * Test projects. `unit` runs pure code and single parts; `integration` runs real brokers, databases
 * and child processes. Forks only: killing a worker thread inside onnxruntime's run() aborts the
 * whole process.
 */
import { defineConfig } from "vitest/config";

const common = { pool: "forks", isolate: true } as const;

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: { ...common, name: "unit", include: ["test/unit/**/*.test.ts"], testTimeout: 30_000 },
      },
      {
        test: {
          ...common,
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
