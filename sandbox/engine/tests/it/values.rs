//! Generators, iterators, typed arrays, collections, classes.

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

#[test]
fn typed_arrays_and_buffers() {
    check(&[
        (
            "wrapping",
            "log([...new Uint8Array([256, -1, 1.9])], [...new Int8Array([200])], [...new Uint8ClampedArray([300, -5])]);",
            "[0,255,1] [-56] [255,0]",
        ),
        (
            "views of one buffer",
            "const b = new ArrayBuffer(8); new DataView(b).setFloat64(0, 1.5); log([...new Uint8Array(b)]);",
            "[63,248,0,0,0,0,0,0]",
        ),
        (
            "byte order",
            "const b = new DataView(new ArrayBuffer(4)); b.setUint16(0, 0x1234); b.setUint16(2, 0x1234, true); log([...new Uint8Array(b.buffer)], b.getInt16(2, true));",
            "[18,52,52,18] 4660",
        ),
        (
            "floats",
            "log(new Float32Array([0.1])[0], new Float64Array([0.1])[0], typeof Float16Array);",
            "0.10000000149011612 0.1 function",
        ),
        (
            "64-bit",
            "const b = new BigInt64Array([-1n]); log(b[0], new BigUint64Array(b.buffer)[0]);",
            "-1 18446744073709551615",
        ),
        (
            "methods",
            "const u = Uint8Array.of(3, 1, 2); log([...u.sort()], [...u.subarray(1)], [...u.slice(0, 1)], u.indexOf(3), u.reduce((a, b) => a + b));",
            "[1,2,3] [2,3] [1] 2 6",
        ),
        (
            "out of range",
            "const u = new Uint8Array(2); u[5] = 1; log(u.length, u[5], 5 in u); try { new DataView(u.buffer).getInt32(0); } catch (e) { log(e.name); }",
            "2 undefined false\nRangeError",
        ),
        (
            "resizing",
            "const b = new ArrayBuffer(2, { maxByteLength: 8 }); const u = new Uint8Array(b); b.resize(4); log(u.length, b.maxByteLength);",
            "4 8",
        ),
        (
            "transfer",
            "const b = new ArrayBuffer(4); const c = b.transfer(); log(b.detached, b.byteLength, c.byteLength);",
            "true 0 4",
        ),
        (
            "set and copyWithin",
            "const u = new Uint8Array(5); u.set([1, 2, 3], 1); u.copyWithin(0, 2); log([...u]);",
            "[2,3,0,3,0]",
        ),
        (
            "bytes in the state",
            "import * as s from 'iottly:firmware/state@0.1.0'; s.set('k', new Uint8Array([1, 2, 255])); const b = s.get('k'); log(b instanceof Uint8Array, [...b], s.get('none'));",
            "true [1,2,255] undefined",
        ),
        (
            "too large",
            "try { new Uint8Array(2 ** 33); } catch (e) { log(e.name); }",
            "RangeError",
        ),
    ]);
}

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
