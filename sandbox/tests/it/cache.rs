//! Compiled code is made once, stored safely, and never trusted without its seal.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use iottly_sandbox::{Cache, CompilerProgram, Limits, Runtime, ScriptEngine, install};

use crate::common::{Recorder, compiler, firmware, shell};

struct Fixture {
    dir: tempfile::TempDir,
    runtime: Runtime,
    wasm: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            runtime: Runtime::new().unwrap(),
            wasm: firmware(&[]),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Returns the real compiler with a counter of its runs.
    fn counting(&self) -> CompilerProgram {
        shell(&format!(
            "echo run >> {}; exec {}",
            self.dir.path().join("runs").display(),
            compiler().path.display()
        ))
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.dir.path().join("runs"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    /// Loads through a newly opened cache and checks that the result runs.
    fn load(&self) {
        let firmware = Cache::open(self.path(), self.counting())
            .unwrap()
            .load(&self.runtime, &self.wasm)
            .unwrap();
        let mut instance = firmware
            .start(Box::new(Recorder::default()), Limits::default())
            .unwrap();
        assert_eq!(instance.tick(0), Ok(500));
    }

    fn code(&self) -> PathBuf {
        let mut found = code_files(&self.path());
        assert_eq!(found.len(), 1);
        found.remove(0)
    }
}

fn code_files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|name| name == "cwasm"))
        .collect()
}

/// Makes all compiled forms a second older: file times may be coarse, and the order of use is a test's subject.
fn age(dir: &Path) {
    for path in code_files(dir) {
        let file = fs::File::open(&path).unwrap();
        let used = file.metadata().unwrap().modified().unwrap();
        file.set_modified(used - Duration::from_secs(1)).unwrap();
    }
}

#[test]
fn the_second_load_needs_no_compiler() {
    let fixture = Fixture::new();
    fixture.load();
    fixture.load();
    assert_eq!(fixture.runs(), 1);
}

#[test]
fn a_flipped_bit_is_noticed_and_compiled_again() {
    let fixture = Fixture::new();
    fixture.load();
    let path = fixture.code();
    let good = fs::read(&path).unwrap();
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        fixture.load();
        assert_eq!(
            fs::read(fixture.code()).unwrap(),
            good,
            "compiling again gives the same code"
        );
    }
    assert_eq!(fixture.runs(), 4);
}

#[test]
fn a_truncated_or_empty_file_is_compiled_again() {
    let fixture = Fixture::new();
    fixture.load();
    fs::File::options()
        .write(true)
        .open(fixture.code())
        .unwrap()
        .set_len(0)
        .unwrap();
    fixture.load();
    assert_eq!(fixture.runs(), 2);
}

#[test]
fn code_of_another_device_is_never_mapped() {
    let ours = Fixture::new();
    let theirs = Fixture::new();
    theirs.load();
    drop(Cache::open(ours.path(), ours.counting()).unwrap());
    let planted = ours.path().join(theirs.code().file_name().unwrap());
    fs::copy(theirs.code(), &planted).unwrap();
    ours.load();
    assert_eq!(ours.runs(), 1);
    assert!(!planted.exists());
}

#[test]
fn installed_code_is_mapped_unless_others_can_change_it_or_it_is_damaged() {
    let fixture = Fixture::new();
    let installed = fixture.dir.path().join("installed");
    // Under the name of its digest an engine is a component like any other.
    let engine = ScriptEngine::new("test", fixture.wasm.clone());
    install(&installed, &engine, &compiler()).unwrap();
    install(&installed, &engine, &compiler()).unwrap();
    let files = code_files(&installed);
    let [file] = &files[..] else { panic!("one file") };
    let runs = || {
        let before = fixture.runs();
        let _ = fs::remove_dir_all(fixture.path());
        let cache = Cache::open(fixture.path(), fixture.counting()).unwrap();
        let cache = cache.with_installed(&installed);
        let firmware = cache.load(&fixture.runtime, &fixture.wasm).unwrap();
        let mut instance = firmware
            .start(Box::new(Recorder::default()), Limits::default())
            .unwrap();
        assert_eq!(instance.tick(0), Ok(500));
        fixture.runs() - before
    };
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let is_root = fs::metadata(file).unwrap().uid() == 0;
    assert_eq!(runs(), usize::from(!is_root), "what belongs to root is used");
    for open in [&installed, file] {
        let before = fs::metadata(open).unwrap().permissions().mode();
        mode(open, before | 0o002);
        assert_eq!(runs(), 1, "{} can be changed by others", open.display());
        mode(open, before);
    }
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, &bytes).unwrap();
    assert_eq!(runs(), 1, "a damaged file is not mapped");
    assert!(file.exists(), "and stays as it is");
}

#[test]
fn code_of_another_firmware_under_this_name_is_never_mapped() {
    let mut fixture = Fixture::new();
    fixture.load();
    let first = fixture.code();
    fixture.wasm = firmware(&[("tick", "(unreachable)")]);
    let name = first.file_name().unwrap().to_str().unwrap().to_owned();
    drop(
        Cache::open(fixture.path(), fixture.counting())
            .unwrap()
            .load(&fixture.runtime, &fixture.wasm)
            .unwrap(),
    );
    let second = code_files(&fixture.path())
        .into_iter()
        .find(|path| *path != first)
        .unwrap();
    fs::rename(&second, fixture.path().join(name)).unwrap();
    fixture.wasm = firmware(&[]);
    fixture.load();
    assert_eq!(fixture.runs(), 3);
}

#[test]
fn a_damaged_key_costs_a_compilation_and_nothing_else() {
    let fixture = Fixture::new();
    fixture.load();
    fs::write(fixture.path().join("key"), "short").unwrap();
    fixture.load();
    fixture.load();
    assert_eq!(fixture.runs(), 2);
}

#[test]
fn the_directory_is_closed_to_others() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path()).unwrap();
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fixture.load();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (
            mode(&fixture.path()),
            mode(&fixture.path().join("key")),
            mode(&fixture.code())
        ),
        (0o700, 0o600, 0o600)
    );
}

#[test]
fn many_devices_share_one_directory_and_one_compilation() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| fixture.load());
        }
    });
    assert_eq!(fixture.runs(), 1);
}

#[test]
fn what_an_interrupted_compilation_left_is_removed() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path()).unwrap();
    let left = fixture.path().join(".tmpABCDEF");
    fs::write(&left, "half of something").unwrap();
    fixture.load();
    assert!(!left.exists());
}

#[test]
fn the_directory_holds_at_most_sixteen_firmwares() {
    let fixture = Fixture::new();
    let cache = Cache::open(fixture.path(), compiler()).unwrap();
    let wasm = |n: u64| firmware(&[("tick", &format!("(drop (i32.const {n})) (i32.const 1024)"))]);
    for n in 0..18 {
        drop(cache.load(&fixture.runtime, &wasm(n)).unwrap());
        age(&fixture.path());
    }
    assert_eq!(code_files(&fixture.path()).len(), 16);
}

#[test]
fn an_engine_stays_however_many_firmwares_come_after_it() {
    let fixture = Fixture::new();
    let engine = ScriptEngine::new("test 1", firmware(&[("tick", "(i32.const 7)")]));
    let cache = Cache::open(fixture.path(), fixture.counting())
        .unwrap()
        .with_engine(engine);
    cache.warm(&fixture.runtime).unwrap();
    let compiled = fixture.code();
    let wasm = |n: u64| firmware(&[("tick", &format!("(drop (i32.const {n})) (i32.const 1024)"))]);
    for n in 0..17 {
        age(&fixture.path());
        drop(cache.load(&fixture.runtime, &wasm(n)).unwrap());
    }
    assert!(compiled.exists());
    assert!(code_files(&fixture.path()).len() <= 17, "sixteen and the engine");
    // A cache that does not run scripts on it removes it like any other file.
    let other = Cache::open(fixture.path(), compiler()).unwrap();
    age(&fixture.path());
    drop(other.load(&fixture.runtime, &wasm(99)).unwrap());
    assert!(!compiled.exists());
}

#[test]
fn an_engine_that_a_release_has_brought_stays_until_it_is_not_named_any_more() {
    let fixture = Fixture::new();
    let brought = || ScriptEngine::new("test 2", firmware(&[("tick", "(i32.const 8)")]));
    let own = ScriptEngine::new("test 1", firmware(&[("tick", "(i32.const 7)")]));
    let cache = Cache::open(fixture.path(), fixture.counting())
        .unwrap()
        .with_engine(own);
    cache.set_brought(vec![brought()]);
    let names = |cache: &Cache| -> Vec<_> {
        let engines = cache.engines();
        engines.iter().map(|engine| engine.abi().to_owned()).collect()
    };
    assert_eq!(names(&cache), ["test 1", "test 2"]);
    cache.warm(&fixture.runtime).unwrap();
    cache.set_brought(vec![brought()]);
    cache.warm(&fixture.runtime).unwrap();
    assert_eq!(fixture.runs(), 2);
    cache.set_brought(Vec::new());
    assert_eq!(names(&cache), ["test 1"]);
}
