//! Generators, iterators, patterns and spread.

use crate::host::check;

#[test]
fn generators_and_iterators() {
    check(&[
        (
            "a generator",
            "function* g() { const x = yield 1; log('got', x); return 3; } const i = g(); log(i.next(), i.next('x'), i.next());",
            "got x\n{\"value\":1,\"done\":false} {\"value\":3,\"done\":true} {\"done\":true}",
        ),
        (
            "an endless one",
            "function* n() { let i = 0; for (;;) yield i++; } for (const i of n()) { if (i > 3) break; log(i); }",
            "0\n1\n2\n3",
        ),
        (
            "delegation",
            "function* a() { yield* [1, 2]; return 3; } function* b() { log('returned', yield* a()); } log([...b()]);",
            "returned 3\n[1,2]",
        ),
        (
            "return runs finally",
            "function* g() { try { yield 1; } finally { log('finally'); } } for (const v of g()) { log(v); break; }",
            "1\nfinally",
        ),
        (
            "throw into one",
            "function* g() { try { yield 1; } catch (e) { yield e.message; } } const i = g(); i.next(); log(i.throw(new Error('in')).value);",
            "in",
        ),
        (
            "an iterable of one's own",
            "const r = { *[Symbol.iterator]() { yield 'a'; yield 'b'; } }; log([...r], Array.from(r));",
            "[\"a\",\"b\"] [\"a\",\"b\"]",
        ),
        (
            "patterns",
            "const [a, , b = 5, ...c] = [1, 2, undefined, 4, 5]; const { x: { y }, ...rest } = { x: { y: 1 }, z: 2 }; log(a, b, c, y, rest);",
            "1 5 [4,5] 1 {\"z\":2}",
        ),
        (
            "divisions that a look ahead takes for regular expressions",
            "const o = { of: 6, if: 8 }; log((o.of / 2), (o.if / 2));",
            "3 4",
        ),
        (
            "helpers of iterators",
            "log([1, 2, 3, 4].values().filter((n) => n % 2).map((n) => n * 10).toArray());",
            "[10,30]",
        ),
        (
            "entries",
            "for (const [i, v] of ['a', 'b'].entries()) log(i, v);",
            "0 a\n1 b",
        ),
        (
            "spread of arguments",
            "log(Math.max(...[1, 5, 3], ...new Set([9])));",
            "9",
        ),
    ]);
}
