//! Modules: a firmware's own files, and what it cannot import.

use crate::host::{Setup, check, run};

fn with(files: &[(&str, &str)], main: &str) -> String {
    let setup = files
        .iter()
        .fold(Setup::new(main), |setup, (path, text)| setup.file(path, text));
    setup.start().output()
}

#[test]
fn files_import_each_other() {
    let math = (
        "lib/math.js",
        "import { one } from '../one.js'; export const two = one + one; export default (n) => n * two;",
    );
    let one = ("one.js", "export const one = 1;");
    assert_eq!(
        with(
            &[math, one],
            "import double, { two } from './lib/math.js'; log(double(21), two);"
        ),
        "42 2\n"
    );
}

#[test]
fn a_module_runs_once() {
    let files = [
        ("a.js", "import './c.js'; log('a');"),
        ("b.js", "import './lib/../c.js'; log('b');"),
        ("c.js", "log('c');"),
    ];
    assert_eq!(
        with(&files, "import './a.js'; import './b.js'; log('main');"),
        "c\na\nb\nmain\n"
    );
}

#[test]
fn modules_may_import_in_a_circle() {
    let files = [
        (
            "a.js",
            "import { b } from './b.js'; export const a = () => 'a' + b();",
        ),
        (
            "b.js",
            "import { a } from './a.js'; export const b = () => typeof a;",
        ),
    ];
    assert_eq!(
        with(&files, "import { a } from './a.js'; log(a());"),
        "afunction\n"
    );
}

#[test]
fn a_dynamic_import_is_a_promise() {
    let files = [("x.js", "export const x = 5;")];
    assert_eq!(
        with(&files, "import('./x.js').then(({ x }) => log(x)); log('first');"),
        "first\n5\n"
    );
    assert_eq!(
        with(&files, "const { x } = await import('./x.js'); log(x);"),
        "5\n"
    );
    assert_eq!(
        with(&files, "import('./y.js').catch((e) => log(e.name, e.message));"),
        "ReferenceError there is no module \"./y.js\" in the firmware\n"
    );
}

#[test]
fn exports_are_live_and_complete() {
    let files = [
        ("n.js", "export let n = 0; export function up() { n++; }"),
        (
            "all.js",
            "export * from './n.js'; export * as inner from './n.js'; export { n as m } from './n.js';",
        ),
    ];
    assert_eq!(
        with(
            &files,
            "import * as all from './all.js'; all.up(); log(all.n, all.m, all.inner.n, Object.keys(all));"
        ),
        "1 1 1 [\"inner\",\"m\",\"n\",\"up\"]\n"
    );
}

#[test]
fn a_script_may_export_its_functions() {
    let mut script =
        Setup::new("export function init() { log('init'); } export const loop = () => 9;").start();
    assert_eq!(script.tick(), Some(9));
    assert_eq!(script.output(), "init\n");
}

#[test]
fn what_is_not_in_the_firmware_cannot_be_imported() {
    for (script, expected) in [
        (
            "import './gone.js';",
            "there is no module \"./gone.js\" in the firmware",
        ),
        ("import 'lodash';", "an import names nothing in the firmware"),
        ("import '/etc/passwd';", "an import names nothing in the firmware"),
        ("import '../main.js';", "an import names nothing in the firmware"),
        (
            "import './lib/../../x.js';",
            "an import names nothing in the firmware",
        ),
        (
            "import 'https://example.org/x.js';",
            "an import names nothing in the firmware",
        ),
        (
            "import './__iottly/prelude.js';",
            "an import names nothing in the firmware",
        ),
        (
            "import '__iottly/engine';",
            "an import names nothing in the firmware",
        ),
        (
            "import './__iottly/sections';",
            "an import names nothing in the firmware",
        ),
        (
            "import { stop } from 'iottly:firmware/script@0.1.0';",
            "an import names nothing in the firmware",
        ),
        (
            "import 'iottly:firmware/gone@0.1.0';",
            "there is no interface \"iottly:firmware/gone@0.1.0\"",
        ),
        (
            "import { gone } from './x.js';",
            "Could not find export 'gone' in module 'x.js'",
        ),
        (
            "await import('../../../etc/passwd');",
            "an import names nothing in the firmware",
        ),
        (
            "await eval('import(\"/etc/passwd\")');",
            "an import names nothing in the firmware",
        ),
    ] {
        let output = with(&[("x.js", "export const x = 1;")], script);
        assert!(
            output.contains(expected) && output.contains("! failed"),
            "{script}\n{output}"
        );
    }
}

#[test]
fn an_interface_of_the_device_can_be_imported() {
    check(&[
        (
            "telemetry",
            "import { send } from 'iottly:firmware/telemetry@0.1.0'; send('{\"a\":1}', undefined, 'buffered'); send('{}', 'c', 'durable');",
            "sent: {\"a\":1}\nsent on c durably: {}",
        ),
        (
            "its functions have names and lengths",
            "import * as clock from 'iottly:firmware/clock@0.1.0'; log(Object.keys(clock), clock.delayNs.name, clock.delayNs.length, clock.nowMs());",
            "[\"delayNs\",\"monotonicNs\",\"nowMs\"] delayNs 1 1700000000000",
        ),
    ]);
}

#[test]
fn an_error_in_a_module_names_it() {
    let files = [("lib/wrong.js", "\n\nlet = = 1;")];
    assert_eq!(
        with(&files, "import './lib/wrong.js';"),
        "error: SyntaxError: variable name expected\n  at lib/wrong.js:3:5\n\
         ! failed: SyntaxError: variable name expected at lib/wrong.js:3:5\n"
    );
    let files = [(
        "lib/late.js",
        "export function late() {\n  throw new Error('late');\n}",
    )];
    assert_eq!(
        with(&files, "import { late } from './lib/late.js';\nlate();"),
        "error: Error: late\n  at late (lib/late.js:2:13)\n  at <anonymous> (main.js:2:1)\n\
         ! failed: Error: late at late (lib/late.js:2:13)\n"
    );
}

#[test]
fn modules_are_strict_and_have_no_this() {
    check(&[
        ("this", "log(this);", "undefined"),
        (
            "an undeclared name",
            "x = 1;",
            "error: ReferenceError: x is not defined\n  at <anonymous> (main.js:1:1)\n! failed: ReferenceError: x is not defined at <anonymous> (main.js:1:1)",
        ),
        ("import.meta", "log(typeof import.meta);", "object"),
    ]);
}

#[test]
fn a_large_script_is_fine() {
    let mut text = String::new();
    for i in 0..3000 {
        text.push_str(&format!("function f{i}(x) {{ return x + {i}; }} // ü\n"));
    }
    text.push_str("log(f2999(1));");
    assert_eq!(run(&text), "3000\n");
}
