/** What the compression benchmark judges by, and the nets that it makes for itself. */
import { describe, expect, it } from "vitest";
import { answersOf } from "../../../scripts/bench/compress/answer.ts";
import { chosenOf, finalistsOf, isAsAccurate } from "../../../scripts/bench/compress/choice.ts";
import { cifar, plainBytes, recordBytes } from "../../../scripts/bench/compress/data/cifar.ts";
import {
  bestOf,
  flipsBetween,
  type Graded,
  holmRejections,
} from "../../../scripts/bench/compress/grade.ts";
import { compareSizes, parameterCount } from "../../../scripts/bench/compress/size.ts";
import {
  calibrationOf,
  halvesOf,
  type Subject,
  topOne,
} from "../../../scripts/bench/compress/subject.ts";
import { weightsByName } from "../../../scripts/bench/compress/zoo/net.ts";
import { rolled, unrolled } from "../../../scripts/bench/compress/zoo/recurrent.ts";
import {
  commands,
  textLength,
  tokenizerOf,
  tokensOf,
  wordsIn,
} from "../../../scripts/bench/compress/zoo/text.ts";
import { seededRandom } from "../../../shared/prng.ts";

function graded(name: string, bytes: number, right: readonly boolean[]): Graded {
  const variant = { name, scheme: "int8-channel", bytes: new Uint8Array(bytes) } as const;
  return { variant, right, hits: right.filter(Boolean).length };
}

describe("grades", () => {
  it("reject by Holm's steps: each p-value against what is left of alpha", () => {
    expect(holmRejections([0.03, 0.01, 0.03], 0.05)).toBe(1);
    expect(holmRejections([0.02, 0.01, 0.024], 0.05)).toBe(3);
    expect(holmRejections([0.02, 0.5, 0.6], 0.05)).toBe(0);
    expect(holmRejections([], 0.05)).toBe(0);
  });

  it("take the file with most right answers, of equal ones the smallest", () => {
    const files = [
      graded("large", 9, [true, true, false]),
      graded("small", 5, [true, false, true]),
      graded("wrong", 1, [false, false, true]),
    ];
    expect(bestOf(files)?.variant.name).toBe("small");
    expect(bestOf([])).toBeUndefined();
  });

  it("count flips both ways", () => {
    const ours = graded("ours", 1, [true, false, false, true]);
    const theirs = graded("theirs", 1, [true, true, true, false]);
    expect(flipsBetween(ours, theirs)).toEqual({ worse: 2, better: 1 });
  });
});

describe("the choice", () => {
  const right = (count: number) => Array.from({ length: 1_000 }, (_, at) => at < count);

  it("takes the most accurate of files of one time and one size", () => {
    const files = [
      graded("small", 1_000, right(900)),
      graded("better", 1_050, right(902)),
      graded("large", 1_200, right(903)),
      graded("slow", 900, right(904)),
    ];
    const times = new Map(Object.entries({ small: 1, better: 1.02, large: 1, slow: 1.2 }));
    const chosen = chosenOf(files, ({ variant }) => times.get(variant.name)!);
    expect(chosen.variant.name).toBe("better");
  });

  it("looks closer at the fastest files, and at the most accurate that may be as fast", () => {
    const files = [1, 1.01, 1.02, 1.1, 1.11, 1.12, 1.13, 2].map((time, at) =>
      graded(`${time}`, 1, right(900 + at)),
    );
    const chosen = finalistsOf(files, ({ variant }) => Number(variant.name));
    const names = ["1", "1.01", "1.02", "1.13", "1.12", "1.11"];
    expect(chosen.map(({ variant }) => variant.name)).toEqual(names);
    expect(finalistsOf([], () => 1)).toEqual([]);
  });

  it("counts a file as accurate as the best within a quarter of a point or half the noise", () => {
    const best = graded("best", 1, right(900));
    expect(isAsAccurate(graded("near", 1, right(898)), best)).toBe(true);
    expect(isAsAccurate(graded("far", 1, right(897)), best)).toBe(false);
    // Forty answers apart, but as many the other way round bar a few.
    const other = (more: number) =>
      right(900).map((is, at) => (at < 40 ? false : is || at < 900 + more));
    expect(isAsAccurate(graded("other", 1, other(36)), best)).toBe(true);
    expect(isAsAccurate(graded("other", 1, other(35)), best)).toBe(false);
  });
});

describe("samples", () => {
  it("are split into disjoint halves, calibration never among the compared", () => {
    const subject = recurrentSubject(unrolled("GRU"), 40);
    const { pick, compare } = halvesOf(40);
    expect(pick.length + compare.length).toBe(40);
    expect(new Set([...pick, ...compare]).size).toBe(40);
    const length = 28 * 28;
    const compared = new Set([...compare].map((at) => subject.labelled.data[at * length]));
    const { data, count } = calibrationOf(subject, 10);
    for (let at = 0; at < count; at++) expect(compared.has(data[at * length]!)).toBe(false);
  });

  it("read CIFAR-10 records, and refuse a torn one", () => {
    const records = new Uint8Array(2 * recordBytes).fill(7);
    records[recordBytes] = 3;
    records[recordBytes + 1025] = 200;
    const scaling = { ...plainBytes, mean: [0, 10, 20] } as const;
    const { data, count, labels } = cifar(records, scaling);
    expect([count, ...Array.from(labels)]).toEqual([2, 7, 3]);
    expect(data[3072 + 1024]).toBe(190);
    expect([data[1023], data[1024], data[2047], data[2048]]).toEqual([7, -3, -3, -13]);
    expect(() => cifar(records.subarray(1), plainBytes)).toThrow("no CIFAR-10 records");
  });
});

describe("nets", () => {
  for (const cell of ["LSTM", "GRU"] as const) {
    it(`${cell}: the operator answers what the unrolled cells answer`, async () => {
      const net = unrolled(cell);
      const [cells, operator] = [net, rolled(cell, net)].map((file) => recurrentSubject(file, 6));
      const expected = await answersOf(cells!.modelBytes, cells!, cells!.labelled);
      const actual = await answersOf(operator!.modelBytes, operator!, operator!.labelled);
      expected.forEach((answer, at) => {
        for (const [place, value] of answer.entries()) {
          expect(actual[at]![place]).toBeCloseTo(value, 4);
        }
      });
      expect(Math.max(...expected[0]!.map(Math.abs))).toBeGreaterThan(0.01);
    });
  }

  it("hold as many parameters as their weights have numbers", () => {
    const file = rolled("GRU", unrolled("GRU"));
    const numbers = [...weightsByName(file).values()].reduce((sum, { length }) => sum + length, 0);
    // The axis of a Squeeze is an int64.
    expect(parameterCount(file)).toBe(numbers + 1);
    const subject = recurrentSubject(file, 2);
    const ours = [{ name: "a", scheme: "w8", bytes: new Uint8Array(10) }] as const;
    const [size] = compareSizes(subject, ours, []);
    const weightsBytes = parameterCount(file);
    expect(size).toMatchObject({ oursBytes: 10, theirsBytes: Number.NaN, weightsBytes });
  });

  it("read commands as tokens of a vocabulary, unknown words as 1", () => {
    const corpus = commands(200, seededRandom(1));
    expect(corpus).toEqual(commands(200, seededRandom(1)));
    const words = wordsIn(corpus);
    const tokens = tokensOf([{ words: ["licht", "xyzzy"] }, { words: [] }], tokenizerOf(words));
    expect(tokens).toHaveLength(2 * textLength);
    const pads = (count: number) => Array(count).fill(0n);
    expect([...tokens]).toEqual([
      BigInt(words.indexOf("licht") + 2),
      1n,
      ...pads(2 * textLength - 2),
    ]);
  });
});

function recurrentSubject(modelBytes: Uint8Array, count: number): Subject {
  const random = seededRandom(count);
  const data = Float32Array.from({ length: count * 28 * 28 }, () => random.nextFloat());
  const labels = new Uint8Array(count);
  return {
    name: "recurrent",
    modelBytes,
    input: { name: "input", dtype: "float32", shape: [28, 28], isBatched: true },
    labelled: { data, count, labels },
    isRight: topOne(labels),
    grid: "few",
  };
}
