//! Bad firmware files are refused by name, and so are bad compilers.

use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_sandbox::{Cache, CompileError, LoadError, Runtime};

use crate::common::{compiler, firmware, load, shell};

#[test]
fn garbage_is_not_a_component() {
    for wasm in [
        &b""[..],
        b"\0asm",
        b"hello world",
        &[0xff; 4096],
        b"\0asm\x0d\0\x01\0\xff\xff\xff\xff",
    ] {
        assert!(matches!(load(wasm), Err(LoadError::Invalid(_))), "{wasm:?}");
    }
}

#[test]
fn a_truncated_component_is_refused() {
    let whole = firmware(&[]);
    for part in [9, whole.len() / 4, whole.len() / 2, whole.len() - 1] {
        assert!(
            matches!(
                load(&whole[..part]),
                Err(LoadError::Invalid(_) | LoadError::World(_))
            ),
            "{part} of {} bytes",
            whole.len()
        );
    }
}

#[test]
fn a_core_module_is_refused() {
    let module = wat::parse_str("(module (func (export \"init\")))").unwrap();
    assert!(matches!(load(&module), Err(LoadError::Invalid(_))));
}

#[test]
fn a_component_of_another_world_is_refused() {
    let error = load(&wat::parse_str("(component)").unwrap()).err().unwrap();
    assert!(
        matches!(&error, LoadError::World(text) if text.contains("iottly:firmware/app")),
        "{error}"
    );
}

#[test]
fn an_import_that_no_device_has_is_named() {
    let wasm =
        wat::parse_str("(component (import \"evil:host/disk@1.0.0\" (instance (export \"wipe\" (func)))))")
            .unwrap();
    let error = load(&wasm).err().unwrap();
    assert!(
        matches!(&error, LoadError::World(text) if text.contains("evil:host/disk")),
        "{error}"
    );
}

#[test]
fn an_oversized_file_is_refused_before_it_is_read() {
    let error = load(&vec![0; MAX_COMPONENT_BYTES + 1]).err().unwrap();
    assert_eq!(
        error.to_string(),
        "firmware has 16777217 bytes, the limit is 16777216"
    );
}

#[test]
fn a_compiler_that_fails_is_named() {
    let runtime = Runtime::new().unwrap();
    let wasm = firmware(&[]);
    let with = |program| {
        let dir = tempfile::tempdir().unwrap();
        Cache::open(dir.path(), program)
            .unwrap()
            .load(&runtime, &wasm)
            .err()
            .unwrap()
    };
    let missing = iottly_sandbox::CompilerProgram {
        path: "/nonexistent".into(),
        args: vec![],
    };
    assert!(matches!(
        with(missing),
        LoadError::Compile(CompileError::Start { .. })
    ));
    assert!(matches!(
        with(shell("exit 78")),
        LoadError::Compile(CompileError::OtherEngine(_))
    ));
    assert!(matches!(
        with(shell("kill -SEGV $$")),
        LoadError::Compile(CompileError::Failed(_))
    ));
    let error = with(shell("echo out of luck >&2; exit 1")).to_string();
    assert_eq!(
        error,
        "cannot compile the firmware: the compiler failed: out of luck"
    );
    assert!(matches!(
        with(shell("echo not machine code")),
        LoadError::Cache { .. }
    ));
}

#[test]
fn the_compiler_refuses_to_work_for_another_engine() {
    let output = std::process::Command::new(compiler().path)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
}
