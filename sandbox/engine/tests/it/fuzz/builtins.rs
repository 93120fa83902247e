//! Scripts that use what the language has built in, for the test of memory that runs out.

/// Scripts, of which each line is a statement of its own.
pub(super) const SCRIPTS: [&str; 16] = [
    // Arrays.
    r"var a = [3, 1, 2, , 5]; a.push(7, 8, 9); a.unshift(1, 2); a.splice(2, 1, 'x', 'y', 'z');
var b = a.concat([1, 2], [3, [4]], a); b.reverse(); b.flat(Infinity); b.flatMap((x) => [x, x]);
b.map((x) => x + 1).filter(Boolean).slice(1, 4).fill(0); b.sort(); b.copyWithin(0, 3); b.join('-');
b.toSorted((x, y) => (x > y ? 1 : -1)); b.toSpliced(1, 2, 3); b.with(0, 9); b.toReversed(); [...b.entries()];
Array.from({ length: 3 }, (v, i) => i); Array.of(1, 2, 3); Array.from(new Set([1, 2])); [...'héllo'];
Object.groupBy([1, 2, 3], (x) => (x % 2 ? 'a' : 'b')); Map.groupBy([1, 2, 3], (x) => x % 2);
var s = []; s[5000] = 1; s.concat(s); a.length = 1000; a[3000] = 1; a.length = 2; for (const i in b); delete b[2];
var A = class extends Array {}; A.from([1, 2, 3]).map((x) => x).splice(0, 1); Object.freeze(b.slice());
Array.fromAsync([1, Promise.resolve(2)]).then((v) => log(v)); ['b', 'a', undefined, , 'c'].sort(); [1, [2]].toLocaleString();",
    // Large whole numbers, and numbers as texts.
    r"var a = 1n; for (let i = 0; i < 40; i++) a = a * 123456789n + BigInt(i);
a.toString(); a.toString(16); a.toString(7); BigInt('0x' + 'f'.repeat(100)); BigInt('123456789'.repeat(20));
a / 12345678901234567890n; a % 987654321987654321n; -a; ~a; a << 100n; a >> 33n; a & 0xffffffffffffn; a | a; a ^ 1n;
2n ** 200n; BigInt.asIntN(64, a); BigInt.asUintN(200, -a); a == Number(a); a < 1.5; a > '5'; BigInt(1e30); a * -a;
(1234567890123.456).toFixed(10); (1e21).toString(36); (0.1).toPrecision(50); (1.5).toExponential(20); `${a}`;",
    // Classes.
    r"var A = class { #x = 1; static #s = 2; z = [1]; get x() { return this.#x; } #m() { return 1; } m() { return this.#m() + (#x in this); } };
var B = class extends A { constructor(...a) { super(...a); this.b = super.m; } m() { return super.m() + 1; } w() { super.k = 1; return new.target; } };
for (let i = 0; i < 5; i++) { const b = new B(1, 2); b.m(); b.x; b.w(); }
var C = class Named extends B { #p = () => this; static { this.q = 1; } *g() { yield this.#p(); } async a() { await 1; } }; [...new C().g()]; new C().a();
var D = class extends Error { constructor(m) { super(m, { cause: 1 }); } }; log(new D('x').stack); new (class extends Promise {})((r) => r(1));
class X { static a = X; static b() { return class extends X {}; } } new (X.b())(); Object.getOwnPropertyNames(A); String(A);",
    // Dates.
    r"var d = new Date(2020, 1, 2, 3, 4, 5, 6); d.toISOString(); d.toString(); d.toLocaleString(); d.toUTCString(); d.toJSON();
Date.parse('2020-01-01T00:00:00Z'); Date.parse('Jan 1 2020 10:00 GMT+0100'); d.setHours(1, 2, 3, 4); d + ''; new Date(d); Date();",
    // Errors.
    r"var deep = (n) => { if (n) return deep(n - 1); throw new TypeError('x', { cause: new Error('y') }); };
try { deep(5); } catch (e) { log(e.stack, e.cause); } try { null.x; } catch (e) { log(e); }
try { nothing; } catch (e) { log(e); } try { (void 0)(); } catch {} try { new AggregateError([1, new Error('a')], 'm'); } catch {}
Error.prepareStackTrace = (e, s) => s.map((f) => f.getFunctionName() + f.getLineNumber() + f.getFileName());
try { deep(3); } catch (e) { log(e.stack); } Error.prepareStackTrace = undefined;
var o = {}; Error.captureStackTrace(o); log(o.stack); new SuppressedError(1, 2, 'x'); try { decodeURIComponent('%'); } catch (e) { log(String(e)); }",
    // Texts that are compiled.
    r"eval('var a = 1; let b = 2; function f() { return a + b } f()'); (0, eval)('globalThis.q = 1; var zz = 2; function ff() {}');
new Function('a', 'b = 1', 'return a + b')(1); [...new ((function* () {}).constructor)('yield 1; yield 2')()];
try { eval('let let = 1'); } catch (e) { log(e); } try { eval('/(/'); } catch {}
eval('class Z { #q = 1; static s = eval(`1`) } new Z()'); eval('/a(b)c/g.exec(`abc`); `a${1}`; 10n ** 20n');
import('./other.js').then((m) => log(m.f(1)), (e) => log(e)); import('./none.js').catch((e) => log(e));",
    // Generators and iterators.
    r"var g = function* () { const x = yield 1; try { yield* [x, 2, 3]; } finally { yield 9; } return 4; };
var i = g(); i.next(); i.next(5); i.return(7); i.next(); var [x, y, ...z] = g();
Iterator.from([1, 2, 3]).map((x) => x * 2).filter((x) => x > 2).take(5).drop(1).flatMap((x) => [x, x]).toArray();
[1, 2].values().reduce((a, b) => a + b); Iterator.from({ next() { return { done: true }; } });
[...Iterator.concat([1], [2])]; [...Iterator.zip([[1, 2], [3, 4]])]; [...Iterator.zipKeyed({ a: [1], b: [2] })];
for (const v of (function* () { yield* g(); })()) { if (v === 2) break; }",
    // JSON.
    r#"var o = { a: [1, { b: 'ü\ud800"\\\n' }, null, true], d: new Date(0), s: 'x'.repeat(100), t: { toJSON(k) { return k; } } };
JSON.stringify(o, null, 2); JSON.stringify(o, ['a', 'b'], '--'); JSON.stringify(o, (k, v) => v);
JSON.parse('{"a":[1,2,{"b":"\\u00e9\\n"}],"c":1e5,"__proto__":1,"5":6}', (k, v) => v); JSON.parse('[' + '1,'.repeat(100) + '1]');
try { JSON.parse('{"a":'); } catch (e) { log(e); } try { o.o = o; JSON.stringify(o); } catch (e) { log(e); }
var k = {}; for (let i = 0; i < 50; i++) k['key' + i] = i; JSON.parse(JSON.stringify(k));"#,
    // Maps, sets and weak references.
    r"var m = new Map(); for (let i = 0; i < 50; i++) m.set('k' + i, { i }); for (const [k] of m) { m.delete(k); if (m.size < 40) break; }
var s = new Set([1, 2, 3]); s.union(new Set([4])); s.intersection(new Set([1])); s.symmetricDifference(new Set([9]));
var w = new WeakMap(); var keys = []; for (let i = 0; i < 30; i++) { const k = {}; keys.push(k); w.set(k, { k }); }
new WeakSet(keys); new WeakRef(keys[0]).deref(); var f = new FinalizationRegistry((v) => log('gone', v));
for (const k of keys) { f.register(k, 1, k); new WeakRef(k); } f.unregister(keys[2]); keys.length = 0; f.register({}, 2);
new Map(m.entries()); [...s.values()]; m.clear(); new (class extends Map {})([[1, 2]]); w.set(Symbol('x'), 1);",
    // Functions and statements.
    r"var { a = 1, b: { c = [2] } = {}, ...r } = { x: 1 }; var f = (x, { y = 1 } = {}, ...z) => [x, y, z]; f(...[1, 2], ...'ab');
(function () { arguments[0] = 5; return [...arguments]; })(1, 2); (function () { 'use strict'; return arguments; })(1);
var all = []; for (let i = 0; i < 10; i++) all.push(() => i++); all.map((g) => g()); var t = (s, ...v) => s.raw.join() + v; t`a${1}\n${2}`;
f.bind(null, 1)(2); f.bind(1, 2, 3).bind(4).name; f.apply(null, { length: 2, 0: 1 }); new Date(...[2020, 1]); String(f);
try { using d = { [Symbol.dispose]() { log('d'); } }; } finally { const ds = new DisposableStack(); ds.defer(() => {}); ds.move().dispose(); }
(async () => { const ds = new AsyncDisposableStack(); ds.defer(async () => {}); await ds.disposeAsync(); await using x = { async [Symbol.asyncDispose]() {} }; })();
for (let i = 0; i < 30; i++) globalThis['name' + i] = i; delete globalThis.name1; Symbol.for('a'); Math.max(...all.map((g) => g()));",
    // Objects.
    r"var o = { a: 1, get c() { return 3; }, set c(v) {}, ['d' + 1]: 4, __proto__: { z: 1 } };
for (let i = 0; i < 40; i++) o['k' + i] = i; for (let i = 0; i < 10; i++) delete o['k' + i * 3]; o[5] = 1;
Object.keys(o); Object.values(o); Object.entries(o); Object.assign({}, o, [1, 2], 'text'); ({ ...o, x: 1 }); Object.fromEntries([['a', 1]]);
Object.getOwnPropertyDescriptors(o); Object.defineProperties({}, { x: { value: 1 }, y: { get() {} } }); Object.freeze(o); for (const k in o);
var { a, ...rest } = o; Object.setPrototypeOf({}, o); var q = { x: 1, y: 2 }; delete q.x; q.x = 3; Object.seal(q); Reflect.ownKeys(q);",
    // Promises.
    r"(async () => { for await (const x of (async function* () { yield 1; yield* [2, 3]; try { yield 4; } finally { await null; } })()) if (x === 3) break; })();
Promise.all([1, Promise.resolve(2)]); Promise.allSettled([Promise.reject(1), 2]); Promise.race([1, 2]); Promise.any([Promise.reject(1)]).catch(log);
var { promise, resolve } = Promise.withResolvers(); resolve(promise); promise.catch((e) => log(e)).finally(() => log('end'));
Promise.reject(new Error('alone')); Promise.try(() => { throw 1; }).catch(() => {}); new Promise((a, b) => b(5)).then(null, (v) => v);
var g = (async function* () { yield 1; yield 2; })(); g.next(); g.next(); g.return(5); g.next(); g.throw(1).catch(() => {});
(async () => { await { then(r) { r(1); } }; await new Promise((r) => setTimeout(r, 1)); })();",
    // Proxies.
    r"var p = new Proxy({ a: 1, b: 2 }, new Proxy({}, { get() {} })); p.a; p.c = 1; 'a' in p; delete p.b; Object.keys(p); for (const k in p); ({ ...p });
Object.getOwnPropertyDescriptor(p, 'a'); Object.defineProperty(p, 'z', { value: 1, configurable: true }); Object.setPrototypeOf(p, null);
var f = new Proxy(function () {}, { apply(t, o, a) { return a.length; }, construct(t, a) { return { a }; } }); f(1, 2); new f(1);
var k = new Proxy({}, { ownKeys() { return ['a', Symbol.iterator]; }, getOwnPropertyDescriptor() { return { value: 1, enumerable: true, configurable: true }; } });
Object.entries(k); Object.assign({}, k); var q = new Proxy([1, 2, 3], {}); q.push(4); q.map((x) => x); JSON.stringify(q);
Reflect.construct(Array, [3], Object); Reflect.set({}, 'a', 1, {}); try { const r = Proxy.revocable({}, {}); r.revoke(); r.proxy.x; } catch (e) { log(e); }",
    // Regular expressions.
    r"var r = /(?<y>\d{4})-(?<m>\d\d)/dg; '2020-01 2021-02'.replace(r, (...a) => a.length); [...'2020-01 2021-02'.matchAll(r)];
var m = r.exec('2020-01'); log(m && m.indices.groups.y); 'aXbXc'.split(/X/); 'abc'.replaceAll(/b/g, '$&$`$<x>');
/\p{L}+/u.test('äöü'); /[\p{L}--[a-z]]/v.test('Ä'); /[^a-zß-ÿ]/iu.exec('ẞ'); /[\q{abc|d}]/v.exec('abc'); /\p{RGI_Emoji}/v.test('👍🏽');
new RegExp('a(b|c)*?d{2,5}(?=x)(?!y)(?<=z)(?<!w)\\1', 'imsuy'); try { new RegExp('('); } catch (e) { log(e); }
/(?:a+)+b/.exec('aaaa'); /(a)(b)(c)(d)(e)(f)(g)(h)(i)?/.exec('abcdefgh'); 'x'.repeat(50).replace(/x/g, 'yy'); new (class extends RegExp {})('a').test('a');",
    // Texts.
    r"var s = 'héllo wörld '.repeat(5); s.toUpperCase(); s.normalize('NFD').normalize('NFKC'); s.split(''); s.padStart(100, 'ab'); s.replaceAll('l', 'LL');
var t = ''; for (let i = 0; i < 200; i++) t += i + 'ü'; t = t + t; t.charCodeAt(3); var u = ''; for (let i = 0; i < 3000; i++) u = 'ab' + u; u.indexOf('ba');
var big = 'x'.repeat(9000); (big + big + 'y').slice(1, 9000).toUpperCase(); var o = {}; o[big + 'k'] = 1; o[t] = 2; Symbol.for(t); [...s];
escape(s); unescape('%u0100%20'); encodeURIComponent(s); decodeURIComponent(encodeURIComponent(s)); '\ud800'.toWellFormed(); String.raw`a${1}b`;
String.fromCharCode(256, 512); String.fromCodePoint(128512, 65); s.concat('x', 'y'); s.match('l'); s.localeCompare('x'); 'ΑΣ'.toLowerCase();",
    // Bytes.
    r"for (const T of [Uint8Array, Int16Array, Float32Array, Float64Array]) { const t = new T([3, 1, 2]); t.sort(); t.sort((a, b) => a - b); t.slice(1); t.subarray(1); t.map((x) => x); T.from([1, 2]); new T(t); new T(new T(4)); t.toSorted(); t.join(); }
var b = new ArrayBuffer(8, { maxByteLength: 64 }); var v = new DataView(b); b.resize(32); v.setFloat64(0, 1.5); v.setBigUint64(8, 5n); b.slice(2, 4);
var c = b.transfer(40); c.transferToFixedLength(); new BigInt64Array([1n, 2n]).toReversed(); new Float16Array([1.5]).with(0, 1);
new Uint8Array(8).buffer.resizable; new Int16Array([3, 1]).filter(() => true); new ArrayBuffer(4, { maxByteLength: 8 }).resize(8);
var u = new Uint8Array([1, 2, 250]); log(u.toHex(), u.toBase64()); Uint8Array.fromHex('00ff'); Uint8Array.fromBase64('AAAA');",
];

/// Returns a script that runs all lines, whatever becomes of those before.
pub(super) fn surviving(script: &str) -> String {
    let lines = script.lines();
    let lines = lines.map(|line| format!("  try {{ {line} }} catch (e) {{ last = e; }}\n"));
    format!("let last;\nfunction init() {{\n{}}}\n", lines.collect::<String>())
}
