use std::path::Path;
use std::process::ExitCode;

use componentize_qjs::{ComponentizeOpts, Runtime, componentize};
use iottly_child::{Bounds, Failure, enclose};

use crate::build::CPU_VAR;
use crate::layout;

/// A normal build needs less than 100 MB; a script that allocates without end fails cleanly at this bound.
const DATA_BYTES: u64 = 300 << 20;
/// Largest file that a build writes, in bytes.
const FILE_BYTES: u64 = 64 << 20;
/// Processor seconds when the parent names none.
const CPU_S: u64 = 10;

/// The build child's whole life: modules and world in the working directory, the component on standard
/// output, reasons on standard error.
///
/// Call it before anything else in `main`: it limits the whole process.
#[must_use]
pub fn build_child() -> ExitCode {
    let cpu_s = std::env::var(CPU_VAR)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(CPU_S);
    // An import is resolved by the engine, which tells a file outside of the folder from none; enclosed,
    // there is none outside.
    let _ = enclose(Path::new("."));
    let bounds = Bounds {
        cpu_s,
        data_bytes: DATA_BYTES,
        file_bytes: FILE_BYTES,
        folder: Some(Path::new(".")),
    };
    iottly_child::main(bounds, work)
}

fn work() -> Result<Vec<u8>, Failure> {
    let entry = layout::entry();
    let script = std::fs::read_to_string(&entry)
        .map_err(|error| Failure::failed(format!("{}: {error}", entry.display())))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the build: {error}")))?;
    let options = ComponentizeOpts {
        wit_path: Path::new(layout::WORLD),
        js_source: &script,
        js_path: Some(&entry),
        module_root: Some(Path::new(layout::MODULES)),
        world_name: None,
        stub_wasi: true,
        disable_gc: false,
        runtime: Runtime::OptSizeSync,
    };
    runtime
        .block_on(componentize(&options))
        .map_err(|error| Failure::bad_input(format!("{error:?}")))
}
