//! Builds the script engine: QuickJS-ng, our glue and our prelude as one WebAssembly component.

#[path = "build/c_text.rs"]
mod c_text;
#[path = "build/clang.rs"]
mod clang;
#[path = "build/sources.rs"]
mod sources;
#[path = "build/world.rs"]
mod world;

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::thread;

use clang::{TARGET, Tools, run};
use sha2::{Digest, Sha256};
use wit_component::{ComponentEncoder, StringEncoding};

/// C stack in linear memory, in bytes. Recursion of a script ends at `STACK_LIMIT` of `c/engine.h`.
const STACK_BYTES: usize = 256 << 10;
/// Files of QuickJS that are compiled.
const QUICKJS: [&str; 4] = ["quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"];
/// Our files that are compiled.
const OURS: [&str; 3] = ["engine.c", "glue.c", "libc.c"];

fn main() {
    // A failure is its reason alone, without a place in the build script.
    panic::set_hook(Box::new(|failure| {
        eprintln!(
            "error: {}",
            failure
                .payload_as_str()
                .unwrap_or("the script engine is not built")
        );
    }));
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for watched in ["build.rs", "build", "c", "js", "../wit"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    println!("cargo::rerun-if-env-changed=CLANG");

    let tools = Tools::find(&out);
    let package = sources::find(&out);
    let quickjs = out.join("quickjs");
    sources::copy(&package.join("quickjs"), &quickjs);
    let libc = package.join("vendor/wasi-libc");

    let (resolve, world) = world::read(&here.join("../wit"));
    write(&out.join("world.h"), world::header(&resolve, world).as_bytes());
    write(&out.join("prelude.h"), prelude(&here.join("js")).as_bytes());

    let objects = compile(&tools, &here, &out, &quickjs, &libc);
    let core = out.join("core.wasm");
    link(&tools, &objects, &libc.join("lib/libc.a"), &core);

    let mut module = fs::read(&core).expect("the linker has written it");
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("the module takes the world");
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.encode())
        .unwrap_or_else(|error| panic!("the engine is not a component of its world: {error:#}"));
    write(&out.join("engine.wasm"), &component);
    write(
        &out.join("quickjs-licence"),
        &read(&package.join("quickjs/LICENSE")),
    );
    let mut digest = String::new();
    for byte in Sha256::digest(&component) {
        let _ = write!(digest, "{byte:02x}");
    }
    println!("cargo::rustc-env=IOTTLY_ENGINE_DIGEST={digest}");
    println!("cargo::rustc-env=IOTTLY_ENGINE_COMPILER={}", tools.version);
    // For the tests of this program.
    let itself = env::current_exe().expect("a running program has a file");
    println!("cargo::rustc-env=IOTTLY_ENGINE_BUILD_SCRIPT={}", itself.display());
}

/// Compiles all C files, each with a process of its own.
fn compile(tools: &Tools, here: &Path, out: &Path, quickjs: &Path, libc: &Path) -> Vec<PathBuf> {
    let ours = here.join("c");
    let sources: Vec<PathBuf> = QUICKJS
        .iter()
        .map(|name| quickjs.join(name))
        .chain(OURS.iter().map(|name| ours.join(name)))
        .collect();
    let flag = |flag: &str, path: &Path| {
        let mut text = OsString::from(flag);
        text.push(path);
        text
    };
    // No path of this machine may reach the bytes.
    let maps = [
        (quickjs, "quickjs"),
        (ours.as_path(), "engine"),
        (out, "out"),
        (libc, "libc"),
    ]
    .map(|(path, name)| {
        let mut text = flag("-ffile-prefix-map=", path);
        text.push("=");
        text.push(name);
        text
    });
    thread::scope(|scope| {
        let running: Vec<_> = sources
            .iter()
            .map(|source| {
                let name = source.file_name().expect("sources have names");
                let object = out.join(name).with_extension("o");
                let mut command = Command::new(&tools.clang);
                command
                    .args([
                        TARGET,
                        "-Os",
                        "-std=gnu11",
                        "-fno-exceptions",
                        "-fvisibility=hidden",
                    ])
                    .args([
                        "-ffunction-sections",
                        "-fdata-sections",
                        "-DNDEBUG",
                        "-D_GNU_SOURCE",
                    ])
                    // QuickJS has no name for a WebAssembly without a system; this one is the nearest.
                    .args(["-DEMSCRIPTEN=1", "-DFE_DOWNWARD=0", "-DFE_UPWARD=0"])
                    .args(&maps)
                    .arg(flag("-isystem", &libc.join("include")))
                    .arg(flag("-I", quickjs))
                    .arg(flag("-I", out))
                    .arg(flag("-I", &ours));
                if source.starts_with(&ours) {
                    command.args([
                        "-Wall",
                        "-Wextra",
                        "-Wno-unused-parameter",
                        "-Wno-sign-compare",
                        "-Wno-unused-function",
                    ]);
                } else {
                    command.args(["-w", "-include", "hooks.h"]);
                }
                command.arg("-c").arg(source).arg("-o").arg(&object);
                scope.spawn(move || {
                    run(&mut command);
                    object
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| exit(1)))
            .collect()
    })
}

fn link(tools: &Tools, objects: &[PathBuf], libc: &Path, core: &Path) {
    let mut command = tools.link();
    command
        .args([
            "--no-entry",
            "--gc-sections",
            "--stack-first",
            "--strip-debug",
            "-O2",
        ])
        .args(["-z", &format!("stack-size={STACK_BYTES}")])
        .args(objects)
        .arg(libc)
        .arg("-o")
        .arg(core);
    run(&mut command);
}

/// The prelude's modules as C texts.
fn prelude(folder: &Path) -> String {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("the prelude is there")
        .map(|entry| entry.expect("readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "js"))
        .collect();
    names.sort();
    let mut text = String::from(
        "/* Made by the build script from the prelude. */\nstatic const struct prelude prelude[] = {\n",
    );
    for path in &names {
        let source = fs::read(path).expect("readable file");
        let name = path.file_name().expect("files have names").to_string_lossy();
        let _ = write!(
            text,
            "  {{ \"__iottly/{name}\", {}, (const char[]){{ ",
            source.len()
        );
        for byte in source {
            let _ = write!(text, "{},", byte as i8);
        }
        text.push_str("0 } },\n");
    }
    let _ = writeln!(text, "}};\n#define PRELUDE_COUNT {}", names.len());
    text
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
