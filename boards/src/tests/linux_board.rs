//! The board with Linux on real files: terminals, and folders in place of those of the kernel.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use crate::contract::{self, Rig};
use crate::profile::Profile;
use crate::{Board, LinuxBoard, Pull, SerialSettings, State};

const PROFILE: &str = r#"
name = "bench"
[[chip]]
label = "pinctrl-test"
lines = 8
[[pin]]
label = "led"
chip = "pinctrl-test"
line = 3
[[i2c]]
label = "i2c1"
node = "i2c-1"
needs = "dtparam=i2c_arm=on"
[[uart]]
label = "loop"
node = "ttyTest"
[[pwm]]
label = "fan"
device = "fe20c000.pwm"
channel = 0
[[adc]]
label = "light"
device = "ads1015"
channel = "voltage0"
"#;

fn board(root: &Path) -> LinuxBoard {
    LinuxBoard::below(Profile::parse("bench", PROFILE).unwrap(), root)
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Folder with a PWM chip, a converter, and a terminal whose other end returns what it receives.
fn machine() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for file in ["export", "pwm0/duty_cycle", "pwm0/period", "pwm0/enable"] {
        write(root, &format!("sys/class/pwm/pwmchip2/{file}"), "0\n");
    }
    fs::create_dir_all(root.join("sys/devices/fe20c000.pwm")).unwrap();
    std::os::unix::fs::symlink(
        root.join("sys/devices/fe20c000.pwm"),
        root.join("sys/class/pwm/pwmchip2/device"),
    )
    .unwrap();
    for (file, text) in [
        ("name", "ads1015\n"),
        ("in_voltage0_raw", "100\n"),
        ("in_voltage_scale", "3.0\n"),
        ("in_voltage0_offset", "10\n"),
    ] {
        write(root, &format!("sys/bus/iio/devices/iio:device0/{file}"), text);
    }
    write(root, "dev/null-file", "");
    let (mut outside, name) = terminal();
    std::os::unix::fs::symlink(name, root.join("dev/ttyTest")).unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok(count) = outside.read(&mut bytes) {
            outside.write_all(&bytes[..count]).unwrap();
        }
    });
    folder
}

/// Opens a pair of a terminal and its other end.
#[allow(unsafe_code, reason = "calls of the C library")]
fn terminal() -> (fs::File, std::path::PathBuf) {
    use std::os::fd::{AsRawFd as _, FromRawFd as _};
    let mut name = [0_u8; 64];
    // SAFETY: a new descriptor, and a buffer of the length that is given.
    unsafe {
        let other = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY);
        assert!(other >= 0);
        let other = fs::File::from_raw_fd(other);
        assert_eq!(libc::grantpt(other.as_raw_fd()), 0);
        assert_eq!(libc::unlockpt(other.as_raw_fd()), 0);
        assert_eq!(
            libc::ptsname_r(other.as_raw_fd(), name.as_mut_ptr().cast(), name.len()),
            0
        );
        let length = name.iter().position(|byte| *byte == 0).unwrap();
        let path = String::from_utf8(name[..length].to_vec()).unwrap();
        // The other end reports an error while no program has the terminal open.
        std::mem::forget(fs::OpenOptions::new().read(true).write(true).open(&path).unwrap());
        (other, path.into())
    }
}

#[test]
fn it_keeps_the_contract_where_files_can_stand_for_devices() {
    let machine = machine();
    let board = board(machine.path());
    contract::all(&Rig {
        uart: Some("loop"),
        pwm: Some("fan"),
        adc: Some(("light", 330_000)),
        ..Rig::new(&board)
    });
    let read = |file: &str| {
        fs::read_to_string(machine.path().join("sys/class/pwm/pwmchip2/pwm0").join(file)).unwrap()
    };
    assert_eq!(
        (read("period").as_str(), read("enable").as_str()),
        ("20000000", "1")
    );
    let pulse: u32 = read("duty_cycle").parse().unwrap();
    assert!((4_999_000..=5_000_000).contains(&pulse), "{pulse} of 20 ms");
}

#[test]
fn a_machine_without_the_device_says_what_mends_it() {
    let empty = tempfile::tempdir().unwrap();
    let board = board(empty.path());
    let error = board.i2c("i2c1").err().unwrap().to_string();
    assert!(
        error.contains("dev/i2c-1 does not exist; add dtparam=i2c_arm=on to"),
        "{error}"
    );
    let error = board.output("led", true).err().unwrap().to_string();
    assert!(error.contains("dev/gpiochip* does not exist"), "{error}");
    for error in [
        board.pwm("fan", 50).err().unwrap(),
        board.analog("light").err().unwrap(),
        board.uart("loop", SerialSettings::default()).err().unwrap(),
        board.input("led", Pull::Up).err().unwrap(),
    ] {
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
}

#[test]
fn a_refusal_is_no_claim() {
    let empty = tempfile::tempdir().unwrap();
    let board = board(empty.path());
    let first = board.output("led", true).err().unwrap();
    assert_eq!(board.output("led", true).err().unwrap(), first);
}

#[test]
fn a_file_that_is_no_device_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "dev/ttyTest", "");
    write(folder.path(), "dev/i2c-1", "");
    let board = board(folder.path());
    let error = board
        .uart("loop", SerialSettings::default())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("ttyTest: Inappropriate ioctl"), "{error}");
    let error = board
        .i2c("i2c1")
        .unwrap()
        .write(0x48, &[0])
        .unwrap_err()
        .to_string();
    assert!(error.contains("address 0x48: the transaction failed"), "{error}");
}

#[test]
fn the_list_of_parts_says_what_is_free_and_what_is_not() {
    let machine = machine();
    let parts = board(machine.path()).parts();
    let state = |label: &str| &parts.iter().find(|part| part.label == label).unwrap().state;
    assert!(matches!(state("led"), State::Refused(why) if why.contains("gpiochip* does not exist")));
    assert!(matches!(state("i2c1"), State::Refused(why) if why.contains("dtparam=i2c_arm=on")));
    assert_eq!(*state("loop"), State::Free);
    assert_eq!(*state("light"), State::Free);
    assert_eq!(*state("fan"), State::Free);
    fs::write(machine.path().join("sys/class/pwm/pwmchip2/pwm0/enable"), "1").unwrap();
    let parts = board(machine.path()).parts();
    assert!(
        parts
            .iter()
            .any(|part| part.state == State::Used("a running signal".into()))
    );
}

#[test]
fn names_of_the_system_are_labels_of_a_generic_machine() {
    let machine = machine();
    let board = LinuxBoard::below(Profile::named("generic-linux").unwrap(), machine.path());
    assert_eq!(
        board.analog("ads1015/voltage0").unwrap().read_microvolts(),
        Ok(330_000)
    );
    assert!(board.uart("ttyTest", SerialSettings::default()).is_ok());
    assert!(board.pwm("pwmchip2/0", 50).is_ok());
    for label in ["../null-file", "ttyS0/../../x", "gpiochip0", "/dev/mem", ""] {
        for error in [
            board.i2c(label).err().unwrap(),
            board.spi(label).err().unwrap(),
            board.uart(label, SerialSettings::default()).err().unwrap(),
            board.output(label, true).err().unwrap(),
            board.pwm(label, 5).err().unwrap(),
            board.analog(label).err().unwrap(),
        ] {
            assert!(error.to_string().contains("the board has no"), "{label}: {error}");
        }
    }
}

#[test]
fn a_missing_permission_names_the_group() {
    if rustix::process::geteuid().is_root() {
        // Root may open everything, so the message itself is checked.
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "etc/group", "root:x:0:\ngpio:x:997:pi\n");
        write(folder.path(), "dev/i2c-1", "");
        let path = folder.path().join("dev/i2c-1");
        std::os::unix::fs::chown(&path, None, Some(997)).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o660)).unwrap();
        let system = crate::linux::system::System::new(folder.path());
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = system.refusal("i2c1", &path, None, &denied).to_string();
        assert!(error.contains("run: sudo usermod -aG gpio USER"), "{error}");
    }
}

#[test]
fn all_labels_of_a_device_are_known() {
    let owner = "base = \"raspberry-pi-4\"\n[[pin]]\nlabel = \"valve\"\nchip = \"pinctrl-bcm2711\"\nline = 17\n\
                 [[uart]]\nlabel = \"gps\"\nnode = \"serial0\"\n";
    let board = LinuxBoard::below(Profile::parse("mine", owner).unwrap(), Path::new("/none"));
    let names = |interface: &str, label: &str| {
        let mut names = board.names(interface, label);
        names.sort();
        names.dedup();
        names
    };
    for label in ["GPIO17", "pin11", "valve"] {
        assert_eq!(names("gpio", label), ["GPIO17", "pin11", "valve"]);
    }
    assert_eq!(names("uart", "gps"), ["gps", "serial0"]);
    assert_eq!(names("i2c", "i2c1"), ["i2c1"]);
    assert_eq!(names("gpio", "unknown"), ["unknown"]);
    assert!(
        board
            .parts()
            .iter()
            .all(|part| matches!(part.state, State::Refused(_)))
    );
}
