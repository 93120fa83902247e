//! The build script, run as cargo runs it: what it says when something is missing, and that its bytes depend on nothing
//! but the sources and the compiler.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// This crate's folder.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Runs the build script for the crate in `checkout`, in a process that knows of this one's environment what `change`
/// leaves.
fn build(checkout: &Path, out: &Path, change: impl FnOnce(&mut Command)) -> Output {
    let cargo = PathBuf::from(std::env::var_os("CARGO").expect("cargo runs the tests"));
    let rustc = cargo.with_file_name("rustc");
    let told = Command::new(&rustc)
        .arg("-vV")
        .output()
        .expect("the compiler runs");
    let told = String::from_utf8(told.stdout).expect("text");
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    let mut command = Command::new(env!("IOTTLY_ENGINE_BUILD_SCRIPT"));
    command
        .env_remove("CLANG")
        .env("CARGO_MANIFEST_DIR", checkout)
        .env("OUT_DIR", out)
        .env("HOST", host.expect("the compiler names its host"))
        .env("RUSTC", &rustc)
        .current_dir(checkout);
    change(&mut command);
    command.output().expect("the build script starts")
}

/// Returns the one error that a failed build tells.
fn error(output: &Output) -> String {
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr.clone()).expect("text");
    assert!(text.starts_with("error: "), "{text}");
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
    for noise in ["panicked", "backtrace", "build.rs:"] {
        assert!(!text.contains(noise), "{text}");
    }
    text
}

/// A compiler that prints and does what `script` says.
fn fake(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("clang");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_missing_compiler_is_one_error_with_the_way_to_get_it() {
    let out = TempDir::new().unwrap();
    let text = error(&build(Path::new(HERE), out.path(), |command| {
        command.env("CLANG", "/nonexistent/clang");
    }));
    assert!(
        text.starts_with("error: no clang that builds WebAssembly, version 14 or newer."),
        "{text}"
    );
    assert!(text.contains("\n    apt-get install clang\n"), "{text}");
    assert!(text.contains("  /nonexistent/clang: No such file"), "{text}");

    let empty = TempDir::new().unwrap();
    let text = error(&build(Path::new(HERE), out.path(), |command| {
        command.env("PATH", empty.path());
    }));
    for name in ["clang", "clang-14", "clang-18", "clang-22"] {
        assert!(
            text.contains(&format!("\n  {name}: No such file")),
            "{name}: {text}"
        );
    }
}

#[test]
fn an_unfit_compiler_is_named_with_its_reason() {
    let folder = TempDir::new().unwrap();
    for (script, reason) in [
        ("echo gcc 12", "not a clang: \"gcc 12\""),
        ("echo clang version 13.0.1", "too old: clang version 13.0.1"),
        (
            "[ $1 = --version ] && echo clang version 15.0.7 && exit; echo no such target >&2; exit 1",
            "clang version 15.0.7 does not build WebAssembly: no such target",
        ),
    ] {
        let clang = fake(folder.path(), script);
        let text = error(&build(Path::new(HERE), folder.path(), |command| {
            command.env("CLANG", &clang);
        }));
        assert!(text.contains(reason), "{text}");
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Makes another checkout of the crate, with the lock file that `change` returns.
fn checkout(change: impl FnOnce(String) -> String) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("somewhere/else");
    let here = Path::new(HERE);
    for part in ["build", "c", "js"] {
        copy(&here.join(part), &root.join("sandbox/engine").join(part));
    }
    copy(&here.join("../wit"), &root.join("sandbox/wit"));
    let lock = fs::read_to_string(here.join("../../Cargo.lock")).unwrap();
    fs::write(root.join("Cargo.lock"), change(lock)).unwrap();
    let engine = root.join("sandbox/engine");
    (folder, engine)
}

#[test]
fn an_old_lock_file_is_one_error() {
    let (_folder, engine) = checkout(|lock| lock.replace("\"rquickjs-sys\"", "\"another\""));
    let out = TempDir::new().unwrap();
    assert_eq!(
        error(&build(&engine, out.path(), |_| {})),
        "error: Cargo.lock does not name rquickjs-sys: it is older than Cargo.toml, and `cargo metadata` renews it\n"
    );
}

/// Returns a lock file's packages that one of them needs, itself included, as `NAME-VERSION`.
fn needed(lock: &str, root: &str) -> Vec<String> {
    let mut names = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(name) = names.pop() {
        for package in lock.split("[[package]]\n") {
            if !package.starts_with(&format!("name = \"{name}\"\n")) {
                continue;
            }
            let field = |line: &str| line.split('"').nth(1).unwrap_or_default().to_owned();
            let version = package.lines().nth(1).map(field).unwrap_or_default();
            let one = format!("{name}-{version}");
            if !found.contains(&one) {
                found.push(one);
                let needs = package.lines().filter(|line| line.starts_with(" \""));
                names.extend(needs.map(|line| field(line).split(' ').next().unwrap().to_owned()));
            }
        }
    }
    found
}

/// Makes a home of cargo that has nothing but what a build of this crate downloads for the package with the sources.
fn home() -> TempDir {
    let known = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let real = known("CARGO_HOME").or_else(|| known("HOME").map(|home| home.join(".cargo")));
    let real = real.expect("cargo has a home");
    let home = TempDir::new().unwrap();
    let registry = home.path().join("registry");
    fs::create_dir_all(&registry).unwrap();
    symlink(real.join("registry/index"), registry.join("index")).unwrap();
    if real.join("config.toml").exists() {
        symlink(real.join("config.toml"), home.path().join("config.toml")).unwrap();
    }
    let lock = fs::read_to_string(Path::new(HERE).join("../../Cargo.lock")).unwrap();
    let needed = needed(&lock, "rquickjs-sys");
    assert!(needed.len() > 1 && needed.len() < 40, "{needed:?}");
    let mut copied = 0;
    for source in fs::read_dir(real.join("registry/cache")).unwrap() {
        let source = source.unwrap();
        let cache = registry.join("cache").join(source.file_name());
        fs::create_dir_all(&cache).unwrap();
        for package in &needed {
            let name = OsString::from(format!("{package}.crate"));
            if source.path().join(&name).exists() {
                fs::copy(source.path().join(&name), cache.join(&name)).unwrap();
                copied += 1;
            }
        }
    }
    assert!(copied > 0, "no package of {needed:?} in {}", real.display());
    home
}

#[test]
fn another_checkout_with_nothing_else_downloaded_gives_the_same_bytes() {
    let (_folder, engine) = checkout(|lock| lock);
    let (home, out) = (home(), TempDir::new().unwrap());
    let output = build(&engine, out.path(), |command| {
        command.env("CARGO_HOME", home.path());
        if let Some(clang) = std::env::var_os("CLANG") {
            command.env("CLANG", clang);
        }
    });
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(fs::read(out.path().join("engine.wasm")).unwrap() == iottly_engine::ENGINE);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains(&format!("IOTTLY_ENGINE_DIGEST={}\n", iottly_engine::DIGEST)),
        "{told}"
    );
}
