//! Numbers: their texts, their limits at the device, and the mathematics of the language.

use crate::host::{check, run};

#[test]
fn numbers_are_those_of_the_language() {
    check(&[
        (
            "sums",
            "log(0.1 + 0.2, 1 / 3, 1e21, 1e-7, -0, 123456789012345680000);",
            "0.30000000000000004 0.3333333333333333 1e+21 1e-7 0 123456789012345680000",
        ),
        (
            "the largest",
            "log(Number.MAX_SAFE_INTEGER, Number.MAX_VALUE, Number.MIN_VALUE, Number.EPSILON);",
            "9007199254740991 1.7976931348623157e+308 5e-324 2.220446049250313e-16",
        ),
        (
            "not numbers",
            "log(0 / 0, 1 / 0, -1 / 0, Number('x'));",
            "NaN Infinity -Infinity NaN",
        ),
        (
            "toFixed",
            "log((1.005).toFixed(2), (1e21).toFixed(2), (0.000001).toFixed(7), (-1.5).toFixed(0));",
            "1.00 1e+21 0.0000010 -2",
        ),
        (
            "toPrecision, toExponential",
            "log((123.456).toPrecision(4), (0).toPrecision(1), (123456).toExponential(2));",
            "123.5 0 1.23e+5",
        ),
        (
            "radixes",
            "log((255).toString(16), (-255).toString(2), (0.5).toString(2), parseInt('zz', 36), 0b101, 0o17, 0xff);",
            "ff -11111111 0.1 1295 5 15 255",
        ),
        (
            "parsing",
            "log(parseFloat('3.14abc'), Number(''), Number(' 12 '), Number('1_000'), 1_000, parseInt('08'));",
            "3.14 0 12 NaN 1000 8",
        ),
        (
            "integers wrap in bit operations",
            "log(2 ** 31 | 0, -1 >>> 0, 1 << 31, 5 & 3, 5 ^ 3, ~5);",
            "-2147483648 4294967295 -2147483648 1 6 -6",
        ),
        (
            "remainders",
            "log(-5 % 3, 5 % -3, 5.5 % 2, -0 % 1 === 0);",
            "-2 2 1.5 true",
        ),
        (
            "Math",
            "log(Math.hypot(3, 4), Math.cbrt(27), Math.sign(-3), Math.trunc(-1.7), Math.fround(5.5), Math.clz32(1), Math.imul(3, 4));",
            "5 3 -1 -1 5.5 31 12",
        ),
        (
            "rounding",
            "log(Math.round(-0.5), Math.round(2.5), Math.round(-2.5), Math.floor(-0.5), Math.ceil(-0.5));",
            "0 3 -2 -1 0",
        ),
        (
            "transcendental functions",
            "log(Math.sin(1).toFixed(12), Math.exp(1).toFixed(12), Math.log10(1000), Math.log2(8), Math.pow(2, 0.5).toFixed(12));",
            "0.841470984808 2.718281828459 3 3 1.414213562373",
        ),
        (
            "max and min of nothing",
            "log(Math.max(), Math.min(), Math.max(1, NaN));",
            "-Infinity Infinity NaN",
        ),
        (
            "BigInt",
            "log(2n ** 100n, -7n / 2n, BigInt.asUintN(8, 257n), typeof 1n, 10n > 9);",
            "1267650600228229401496703205376 -3 1 bigint true",
        ),
        (
            "BigInt and JSON",
            "try { send_msg({ n: 1n }); } catch (e) { log(e.name); }",
            "TypeError",
        ),
        (
            "BigInt and numbers do not mix",
            "try { 1n + 1; } catch (e) { log(e.name); }",
            "TypeError",
        ),
        (
            "Object.is",
            "log(Object.is(-0, 0), Object.is(NaN, NaN), [NaN].includes(NaN), [NaN].indexOf(NaN));",
            "false true true -1",
        ),
        (
            "Number.isInteger and friends",
            "log(Number.isInteger(5.0), Number.isSafeInteger(2 ** 53), isNaN('x'), Number.isNaN('x'));",
            "true false true false",
        ),
        (
            "JSON of special numbers",
            "log(JSON.stringify([NaN, Infinity, -0, 1e400]));",
            "[null,null,0,null]",
        ),
        (
            "toLocaleString does not fail",
            "log(typeof (1234.5).toLocaleString());",
            "string",
        ),
    ]);
}

#[test]
fn numbers_are_checked_at_the_device() {
    check(&[
        (
            "a fraction",
            "import { delayNs } from 'iottly:firmware/clock@0.1.0'; try { delayNs(0.5); } catch (e) { log(e.name, e.message); }",
            "RangeError nanoseconds is not a whole number from 0 to 4294967295",
        ),
        (
            "one too many, less than none, not a number",
            "import { cancel } from 'iottly:firmware/timers@0.1.0'; for (const n of [4294967296, -1, NaN, Infinity]) try { cancel(n); } catch (e) { log(e.name); }",
            "RangeError\nRangeError\nRangeError\nRangeError",
        ),
        (
            "other types",
            "import { cancel } from 'iottly:firmware/timers@0.1.0'; for (const n of ['1', null, undefined, 1n, {}, true]) try { cancel(n); } catch (e) { log(e.message); }",
            "source is not a number\nsource is not a number\nsource is not a number\nsource is not a number\nsource is not a number\nsource is not a number",
        ),
        (
            "the limits themselves",
            "import { cancel } from 'iottly:firmware/timers@0.1.0'; cancel(4294967295); cancel(-0); cancel(1.0);",
            "timer 4294967295 cancelled\ntimer 0 cancelled\ntimer 1 cancelled",
        ),
        (
            "delays of timers are rounded and clamped",
            "setTimeout(() => {}, 1.6); setTimeout(() => {}, -5); setTimeout(() => {}, NaN); setInterval(() => {}, 0); setTimeout(() => {}, 1e12); setTimeout(() => {});",
            "timer 1 in 2 ms\ntimer 2 in 0 ms\ntimer 3 in 0 ms\ntimer 4 in 1 ms, again and again\ntimer 5 in 4294967295 ms\ntimer 6 in 0 ms",
        ),
        (
            "64-bit numbers arrive as numbers",
            "log(typeof config.version, config.version + 1);",
            "number 4",
        ),
    ]);
}

#[test]
fn random_numbers_come_from_the_device() {
    let script = "const all = []; for (let i = 0; i < 200; i++) all.push(Math.random());
        log(all.every((n) => n >= 0 && n < 1), new Set(all).size, all.filter((n) => n < 0.5).length > 60); log(all[0]);";
    let (first, second) = (run(script), run(script));
    assert!(first.starts_with("true 200 true\n"), "{first}");
    assert_eq!(
        first, second,
        "the host of these tests always gives the same seed"
    );
}
