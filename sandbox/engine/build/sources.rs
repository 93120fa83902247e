//! Finds the sources of QuickJS-ng and of the libc, and applies our patches to them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package that ships the sources.
const PACKAGE: &str = "rquickjs-sys";

/// One changed line of QuickJS: the text that is there, which occurs once, and what replaces it.
const PATCHES: [(&str, &str, &str); 1] = [
    // The place of a script that is out of time must not depend on what the script did to `Error`.
    (
        "quickjs.c",
        "    JS_ThrowInternalError(ctx, \"interrupted\");\n    JS_SetUncatchableError(ctx, ctx->rt->current_exception);\n",
        "    JS_FreeValue(ctx, ctx->error_prepare_stack); ctx->error_prepare_stack = JS_UNDEFINED; \
             JS_FreeValue(ctx, ctx->error_stack_trace_limit); ctx->error_stack_trace_limit = js_int32(16); \
             ctx->rt->in_build_stack_trace = false; \
             JS_ThrowInternalError(ctx, \"interrupted\"); \
             engine_interrupted(ctx, JS_VALUE_GET_TAG(ctx->rt->current_exception) == JS_TAG_OBJECT ? \
             JS_VALUE_GET_OBJ(ctx->rt->current_exception)->u.object_data : JS_UNDEFINED);\n    \
         JS_SetUncatchableError(ctx, ctx->rt->current_exception);\n",
    ),
];

/// Returns the folder of the package that ships the sources.
pub(crate) fn find() -> PathBuf {
    let host = env::var("HOST").expect("cargo sets HOST");
    let manifest = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("Cargo.toml");
    let cargo = env::var_os("CARGO").expect("cargo sets CARGO");
    // Without the filter cargo wants the crates of all platforms, which a build for this one does not download.
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            "--filter-platform",
        ])
        .arg(host)
        .arg("--manifest-path")
        .arg(manifest)
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    let manifest = packages
        .iter()
        .find(|package| package["name"] == PACKAGE)
        .and_then(|package| package["manifest_path"].as_str())
        .unwrap_or_else(|| panic!("cargo metadata does not name {PACKAGE}"));
    Path::new(manifest)
        .parent()
        .expect("a manifest is in a folder")
        .to_owned()
}

/// Copies the sources of QuickJS into `folder`, patched.
pub(crate) fn copy(quickjs: &Path, folder: &Path) {
    fs::create_dir_all(folder).expect("the build's folder is writable");
    let entries = fs::read_dir(quickjs).unwrap_or_else(|error| panic!("{}: {error}", quickjs.display()));
    for entry in entries {
        let path = entry.expect("readable folder").path();
        if path
            .extension()
            .is_some_and(|ending| ending == "c" || ending == "h")
        {
            let name = path.file_name().expect("files have names").to_owned();
            let mut text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            for (_, from, to) in PATCHES.iter().filter(|(file, _, _)| name == *file) {
                let found = text.matches(from).count();
                assert!(
                    found == 1,
                    "{}: the patch of {from:?} fits {found} places; {PACKAGE} has changed",
                    path.display()
                );
                text = text.replacen(from, to, 1);
            }
            fs::write(folder.join(name), text).expect("the build's folder is writable");
        }
    }
}
