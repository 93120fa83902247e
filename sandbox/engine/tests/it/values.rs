//! Objects, classes, collections, and what the language has besides.

use crate::host::check;

#[test]
fn objects_and_collections() {
    check(&[
        (
            "classes",
            "class A { #p = 1; static n = 0; get p() { return this.#p; } set p(v) { this.#p = v; } static { A.n = 5; } } class B extends A { p2 = super.p + 1; } const b = new B(); b.p = 3; log(b.p, b.p2, A.n);",
            "3 2 5",
        ),
        (
            "private names",
            "class A { #x; static has(o) { return #x in o; } } log(A.has(new A()), A.has({}));",
            "true false",
        ),
        (
            "maps and sets",
            "const m = new Map([[NaN, 1], [0, 2]]); log(m.get(NaN), m.get(-0), [...m.keys()].length, new Set([1, 1, 2]).size);",
            "1 2 2 2",
        ),
        (
            "sets of sets",
            "log([...new Set([1, 2, 3]).intersection(new Set([2, 3, 4]))], [...new Set([1]).union(new Set([2]))]);",
            "[2,3] [1,2]",
        ),
        (
            "weak collections",
            "const k = {}; const w = new WeakMap([[k, 1]]); log(w.get(k), new WeakRef(k).deref() === k, new WeakSet([k]).has(k));",
            "1 true true",
        ),
        (
            "symbols",
            "const s = Symbol('d'); const o = { [s]: 1 }; log(o[s], s.description, Object.keys(o), Symbol.for('x') === Symbol.for('x'));",
            "1 d [] true",
        ),
        (
            "getters",
            "const o = { get x() { return 5; }, set x(v) { log('set', v); } }; o.x = 1; log(o.x, JSON.stringify(o));",
            "set 1\n5 {\"x\":5}",
        ),
        (
            "order of keys",
            "log(Object.keys({ b: 1, 2: 1, a: 1, 1: 1 }));",
            "[\"1\",\"2\",\"b\",\"a\"]",
        ),
        (
            "Object helpers",
            "log(Object.fromEntries([['a', 1]]), Object.entries({ x: 1 }), Object.groupBy([1, 2, 3], (n) => n % 2 ? 'odd' : 'even'));",
            "{\"a\":1} [[\"x\",1]] {\"odd\":[1,3],\"even\":[2]}",
        ),
        (
            "freezing",
            "'use strict'; const o = Object.freeze({ a: 1 }); try { o.a = 2; } catch (e) { log(e.name, o.a); }",
            "TypeError 1",
        ),
        (
            "arrays",
            "log([3, 1, 2].toSorted(), [1, 2, 3].with(1, 9), [1, [2, [3]]].flat(Infinity), [1, 2, 3].findLast((n) => n < 3), [1, 2].at(-1));",
            "[1,2,3] [1,9,3] [1,2,3] 2 2",
        ),
        (
            "sorting is stable",
            "log([[1, 'a'], [0, 'b'], [1, 'c'], [0, 'd']].sort((x, y) => x[0] - y[0]).map((p) => p[1]).join(''));",
            "bdac",
        ),
        (
            "holes",
            "log([1, , 3].length, 1 in [1, , 3], [1, , 3]);",
            "3 false [1,null,3]",
        ),
        (
            "optional and nullish",
            "const o = {}; let a; a ??= 5; log(o?.x?.y, o.f?.(), a, 0 ?? 1, 0 || 1);",
            "undefined undefined 5 0 1",
        ),
        (
            "labels and switch",
            "outer: for (let i = 0; i < 3; i++) for (;;) { if (i === 1) break outer; continue outer; } switch (3) { case 1: log(1); default: log('d'); case 4: log(4); }",
            "d\n4",
        ),
        (
            "closures",
            "const f = []; for (let i = 0; i < 3; i++) f.push(() => i); log(f.map((g) => g()));",
            "[0,1,2]",
        ),
        (
            "the temporal dead zone",
            "try { x; let x = 1; } catch (e) { log(e.name, e.message); }",
            "ReferenceError x is not initialized",
        ),
        (
            "structured clones are absent",
            "log(typeof structuredClone, typeof TextEncoder, typeof fetch, typeof require, typeof process);",
            "undefined undefined undefined undefined undefined",
        ),
        (
            "eval",
            "const x = 2; log(eval('x + 1'), (0, eval)('typeof x'), new Function('a', 'return a * 2')(4));",
            "3 undefined 8",
        ),
        (
            "globalThis",
            "globalThis.shared = 1; log(shared, typeof globalThis.log);",
            "1 function",
        ),
        (
            "using",
            "{ using r = { [Symbol.dispose]() { log('disposed'); } }; log('inside'); }",
            "inside\ndisposed",
        ),
        ("base64", "log(btoa('abc'), atob('YWJj'));", "YWJj abc"),
    ]);
}
