//! Typed arrays, and bytes at the border to the device.

use crate::host::check;

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
