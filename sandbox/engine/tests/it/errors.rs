//! Errors name the author's file or section, with line and column.

use crate::host::{Setup, check};

#[test]
fn syntax_errors_have_their_place() {
    check(&[
        (
            "an operator too many",
            "let a = 1;\n\nfunction loop() { a = 5 +; }\n",
            "error: SyntaxError: unexpected token in expression: ';'\n  at main.js:3:26\n! failed: SyntaxError: unexpected token in expression: ';' at main.js:3:26",
        ),
        (
            "a missing brace",
            "function loop() {\n  if (true) {\n}\n",
            "error: SyntaxError: unexpected token in expression: ''\n  at main.js:3:2\n! failed: SyntaxError: unexpected token in expression: '' at main.js:3:2",
        ),
        (
            "a text without an end",
            "log('a);\n",
            "error: SyntaxError: unexpected end of string\n  at main.js:1:5\n! failed: SyntaxError: unexpected end of string at main.js:1:5",
        ),
        (
            "a name twice",
            "let a;\nlet a;",
            "error: SyntaxError: invalid redefinition of global identifier\n  at main.js:2:6\n! failed: SyntaxError: invalid redefinition of global identifier at main.js:2:6",
        ),
        (
            "await in a plain function",
            "function f() {\n  await 1;\n}",
            "error: SyntaxError: unexpected 'await' keyword\n  at main.js:2:3\n! failed: SyntaxError: unexpected 'await' keyword at main.js:2:3",
        ),
        (
            "return outside of a function",
            "return 1;",
            "error: SyntaxError: return not in a function\n  at main.js:1:1\n! failed: SyntaxError: return not in a function at main.js:1:1",
        ),
        ("a file that is empty", "", ""),
        (
            "a comment without an end",
            "/* a",
            "error: SyntaxError: unexpected end of comment\n  at main.js:1:1\n! failed: SyntaxError: unexpected end of comment at main.js:1:1",
        ),
        ("a comment at the end of the script", "log(1); // end", "1"),
        ("a shebang", "#!/usr/bin/env node\nlog(1);", "1"),
        (
            "text that is JSON",
            "{\"a\": 1}",
            "error: SyntaxError: expecting ';'\n  at main.js:1:5\n! failed: SyntaxError: expecting ';' at main.js:1:5",
        ),
        (
            "eval",
            "\ntry { eval('1 +'); } catch (e) { log(e.name, e.message); }",
            "SyntaxError unexpected token in expression: ''",
        ),
    ]);
}

#[test]
fn exceptions_have_their_places() {
    check(&[
        (
            "at the top level",
            "const a = 1;\nnull.x;\n",
            "error: TypeError: cannot read property 'x' of null\n  at <anonymous> (main.js:2:1)\n! failed: TypeError: cannot read property 'x' of null at <anonymous> (main.js:2:1)",
        ),
        (
            "in init",
            "function init() {\n  missing();\n}",
            "error: ReferenceError: missing is not defined\n  at init (main.js:2:3)\n! failed: ReferenceError: missing is not defined at init (main.js:2:3)",
        ),
        (
            "in a method, a getter, an arrow",
            "class A { get x() { throw new Error('g'); } m() { return this.x; } }\nconst f = () => new A().m();\nf();",
            "error: Error: g\n  at get x (main.js:1:31)\n  at m (main.js:1:1)\n  at f (main.js:2:25)\n  at <anonymous> (main.js:3:1)\n! failed: Error: g at get x (main.js:1:31)",
        ),
        (
            "in a callback of a native function",
            "[1].map(() => {\n  throw new Error('m');\n});",
            "error: Error: m\n  at <anonymous> (main.js:2:13)\n  at <anonymous> (main.js:1:4)\n! failed: Error: m at <anonymous> (main.js:2:13)",
        ),
        (
            "a text",
            "throw 'plain';",
            "error: Error: plain\n! failed: Error: plain",
        ),
        (
            "a number, null, undefined",
            "function init() { try { throw 5; } finally { log('finally'); } }",
            "finally\nerror: Error: 5\n! failed: Error: 5",
        ),
        (
            "an object",
            "throw { code: 7 };",
            "error: Error: {\"code\":7}\n! failed: Error: {\"code\":7}",
        ),
        (
            "an object that looks like a fault",
            "throw { tag: 'busy' };",
            "error: Error: {\"tag\":\"busy\"}\n! failed: Error: {\"tag\":\"busy\"}",
        ),
        (
            "a cause",
            "try { try { null.x; } catch (cause) { throw new Error('outer', { cause }); } } catch (e) { log(e.message, e.cause.name); }",
            "outer TypeError",
        ),
        (
            "an error of one's own",
            "class Mine extends Error { name = 'Mine'; }\nthrow new Mine('own');",
            "error: Mine: own\n  at Mine (main.js:1:1)\n  at <anonymous> (main.js:2:11)\n! failed: Mine: own at Mine (main.js:1:1)",
        ),
        (
            "logged, not thrown",
            "log.warn(new TypeError('seen'));",
            "warn: TypeError: seen\n  at <anonymous> (main.js:1:14)",
        ),
        (
            "the stack itself",
            "log(new Error('x').stack.split('\\n')[0].trim());",
            "at <anonymous> (main.js:1:9)",
        ),
        (
            "an aggregate",
            "throw new AggregateError([1], 'many');",
            "error: AggregateError: many\n  at <anonymous> (main.js:1:11)\n! failed: AggregateError: many at <anonymous> (main.js:1:11)",
        ),
        (
            "a stack limit of none",
            "Error.stackTraceLimit = 0; throw new Error('no place');",
            "error: Error: no place\n! failed: Error: no place",
        ),
        (
            "a prepareStackTrace that throws",
            "Error.prepareStackTrace = () => { throw 1; }; throw new Error('odd');",
            "error: Error: odd\n! failed: Error: odd",
        ),
        (
            "faults",
            "throw new Fault('busy');",
            "error: Fault: busy\n  at <anonymous> (main.js:1:11)\n! busy",
        ),
        (
            "faults with a text",
            "function init() { throw new Fault('denied', 'not you'); }",
            "error: Fault: not you\n  at init (main.js:1:29)\n! denied: not you",
        ),
        (
            "a fault of an unknown kind",
            "throw new Fault('nonsense', 'x');",
            "error: Fault: x\n  at <anonymous> (main.js:1:11)\n! failed: Fault: x at <anonymous> (main.js:1:11)",
        ),
        (
            "the device's refusal",
            "import { send } from 'iottly:firmware/telemetry@0.1.0';\nsend(5);",
            "error: TypeError: payload is not a text\n  at <anonymous> (main.js:2:1)\n! failed: TypeError: payload is not a text at <anonymous> (main.js:2:1)",
        ),
    ]);
}

#[test]
fn a_refusal_of_the_device_is_a_fault_of_the_script() {
    let script = "function init() {\n  try { send_msg({}); } catch (e) { log(e instanceof Fault, e.tag, e.message); }\n  send_msg({});\n}";
    assert_eq!(
        Setup::new(script).full().start().output(),
        "true limit the queue is full\nerror: Fault: the queue is full\n  at init (main.js:3:3)\n! limit: the queue is full\n"
    );
}

#[test]
fn places_are_those_of_sections() {
    let run = |main: &str| {
        Setup::new(main)
            .file("__iottly/sections", "1 global\n3 init\n4 loop\n8 set-target\n")
            .start()
            .output()
    };
    assert_eq!(
        run("let a = 1;\nlet b;\n\nfunction loop() {\n  let = ;\n}\n\n"),
        "error: SyntaxError: variable name expected\n  at loop:2:7\n! failed: SyntaxError: variable name expected at loop:2:7\n"
    );
    assert_eq!(
        run("function f() { null.x; }\n\nfunction init() { f(); }\n"),
        "error: TypeError: cannot read property 'x' of null\n  at f (global:1:15)\n  at init (init:1:19)\n\
         ! failed: TypeError: cannot read property 'x' of null at f (global:1:15)\n"
    );
    assert_eq!(
        run("\n\n\n\n\n\n\nthrow new Error('x');"),
        "error: Error: x\n  at <anonymous> (set-target:1:11)\n! failed: Error: x at <anonymous> (set-target:1:11)\n"
    );
}

#[test]
fn a_call_that_fails_does_not_end_the_script() {
    let mut script = Setup::new(
        "let n = 0;
         function loop() { if (++n === 1) throw new Error('first'); return n; }",
    )
    .start();
    assert_eq!(script.tick(), None);
    assert_eq!(script.tick(), Some(2));
    assert_eq!(
        script.output(),
        "error: Error: first\n  at loop (main.js:2:53)\n! failed: Error: first at loop (main.js:2:53)\n"
    );
}

#[test]
fn places_keep_their_end_behind_long_names() {
    let output =
        Setup::new("const o = { ['n'.repeat(400)]() { throw new Error('x'); } }; o['n'.repeat(400)]();")
            .start()
            .output();
    let place = format!("  at {}… (main.js:1:", "n".repeat(151));
    assert!(output.contains(&place), "{output}");
}

#[test]
fn a_stack_that_the_script_made_up_is_only_text() {
    for stack in [
        "'at x (main.js:99999999999999999999:1)'",
        "'at (:)'",
        "'at :'",
        "'    at )\\n at ()\\nat  ('",
        "'at f (main.js::)\\nat f (main.js:1)\\nat main.js'",
        "'at ' + 'y'.repeat(2000) + ' (main.js:1:1)'",
        "'at f (' + 'x'.repeat(2000) + ':1:1)'",
        "'at f (__iottly/engine.js:1:1)'",
        "'at \\ud83d (main.js:1:1)'",
        "'at x (main.js:1:1)\\n'.repeat(5000)",
        "'\\0at x (main.js:1:1)'",
        "new Proxy({}, {})",
        "5",
    ] {
        let script = format!(
            "const e = new Error('made up'); Object.defineProperty(e, 'stack', {{ value: {stack} }}); throw e;"
        );
        let output = Setup::new(&script).start().output();
        assert!(
            output.starts_with("error: Error: made up") && output.contains("\n! failed: Error: made up"),
            "{stack}: {output}"
        );
    }
}

#[test]
fn there_is_no_script() {
    let mut script = Setup::new("").file("main.js", "throw new Error('top');").load();
    assert!(!script.init());
    assert_eq!(script.tick(), Some(86_400_000));
    assert!(!script.handle("x", "{}"));
    let output = script.output();
    assert!(
        output.ends_with("! unsupported: no handler for \"x\"\n"),
        "{output}"
    );
}
