//! Regular expressions.

use crate::host::check;

#[test]
fn regular_expressions_are_complete() {
    check(&[
        (
            "exec",
            "const m = /(\\d+)-(\\d+)/.exec('a 12-34'); log(m[0], m[1], m[2], m.index);",
            "12-34 12 34 2",
        ),
        (
            "named groups",
            "const { groups } = /(?<y>\\d{4})-(?<m>\\d\\d)/.exec('2024-02'); log(groups.y, groups.m);",
            "2024 02",
        ),
        (
            "all matches",
            "log([...'a1b22'.matchAll(/\\d+/g)].map((m) => m[0]), 'a1b22'.match(/\\d+/g));",
            "[\"1\",\"22\"] [\"1\",\"22\"]",
        ),
        (
            "replace",
            "log('John Smith'.replace(/(\\w+)\\s(\\w+)/, '$2 $1'), 'aaa'.replace(/a/g, (c, i) => i), 'x'.replace('x', '$$'));",
            "Smith John 012 $",
        ),
        (
            "replace with names",
            "log('2024-02'.replace(/(?<y>\\d+)-(?<m>\\d+)/, '$<m>/$<y>'));",
            "02/2024",
        ),
        (
            "look ahead and behind",
            "log('price: $42'.match(/(?<=\\$)\\d+/)[0], 'ab'.replace(/a(?=b)/, 'x'), 'ac'.replace(/a(?!b)/, 'y'), /(?<!\\$)\\b4/.test('$4'));",
            "42 xb yc false",
        ),
        (
            "back references",
            "log(/(a)\\1/.test('aa'), /(?<q>['\"]).*?\\k<q>/.exec('say \"hi\"')[0]);",
            "true \"hi\"",
        ),
        (
            "lazy and greedy",
            "log('<a><b>'.match(/<.+>/)[0], '<a><b>'.match(/<.+?>/)[0]);",
            "<a><b> <a>",
        ),
        (
            "flags",
            "log('A\\nB'.match(/^b$/im)[0], /a.b/s.test('a\\nb'), /\\u{1f600}/u.test('😀'));",
            "B true true",
        ),
        (
            "sticky",
            "const r = /a/y; r.lastIndex = 1; log(r.test('ba'), r.lastIndex, r.test('ba'), r.lastIndex);",
            "true 2 false 0",
        ),
        (
            "global keeps its place",
            "const r = /a/g; log(r.test('aa'), r.lastIndex, r.test('aa'), r.test('aa'));",
            "true 1 true false",
        ),
        ("indices", "log(/b(c)/d.exec('abc').indices);", "[[1,3],[2,3]]"),
        (
            "sets",
            "log(/^[\\p{L}--[a-z]]$/v.test('A'), /^[\\p{L}--[a-z]]$/v.test('a'));",
            "true false",
        ),
        (
            "properties",
            "log(/\\p{Script=Greek}/u.test('α'), /\\p{Lu}/u.test('a'), /\\p{Emoji}/u.test('😀'));",
            "true false true",
        ),
        (
            "ignoring case",
            "log(/straße/i.test('STRAßE'), /\\u212a/i.test('k'), /\\u212a/iu.test('k'));",
            "true false true",
        ),
        (
            "split",
            "log('a1b2c'.split(/\\d/), 'a1b2c'.split(/(\\d)/), 'abc'.split(/(?:)/u));",
            "[\"a\",\"b\",\"c\"] [\"a\",\"1\",\"b\",\"2\",\"c\"] [\"a\",\"b\",\"c\"]",
        ),
        ("search", "log('abc'.search(/c/), 'abc'.search(/x/));", "2 -1"),
        (
            "source and flags",
            "log(new RegExp('/', 'gi').source, String(/a\\/b/m), new RegExp('').toString());",
            "\\/ /a\\/b/m /(?:)/",
        ),
        (
            "wrong ones",
            "for (const p of ['(', '[b-a]', 'a**', '(?<n>a)(?<n>b)', '\\\\']) try { new RegExp(p); } catch (e) { log(e.name); }",
            "SyntaxError\nSyntaxError\nSyntaxError\nSyntaxError\nSyntaxError",
        ),
        (
            "a wrong one in the script",
            "\nconst r = /(/;",
            "error: SyntaxError: expecting ')'\n  at main.js:2:11\n! failed: SyntaxError: expecting ')' at main.js:2:11",
        ),
        (
            "quantifiers",
            "log(/^a{2,3}$/.test('aaa'), /^a{2}$/.test('aaa'), /^a{2,}$/.test('aaaa'), /x{0}/.exec('x')[0] === '');",
            "true false true true",
        ),
        (
            "deep nesting",
            "log(new RegExp('('.repeat(200) + 'a' + ')'.repeat(200)).test('a'));",
            "true",
        ),
        (
            "a long text",
            "log('x'.repeat(20000).replace(/x/g, 'y').length, /y$/.test('x'.repeat(100000) + 'y'));",
            "20000 true",
        ),
        (
            "RegExp.escape",
            "log(typeof RegExp.escape === 'function' ? new RegExp(RegExp.escape('a.b')).test('a.b') : true);",
            "true",
        ),
        (
            "the limit of nested quantifiers is time",
            "log(/^(a+)+$/.test('a'.repeat(20)));",
            "true",
        ),
    ]);
}
