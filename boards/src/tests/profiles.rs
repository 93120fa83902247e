//! Profiles: what is compiled in, and what is refused in a file.

use crate::profile::{self, Profile};

const RELAY: &str =
    "base = \"raspberry-pi-4\"\n[[pin]]\nlabel = \"relay\"\nchip = \"pinctrl-bcm2711\"\nline = 17\n";

#[test]
fn every_profile_is_valid_and_has_its_own_name() {
    for name in profile::names() {
        let profile = Profile::named(name).unwrap();
        assert_eq!(profile.name, name);
        assert_eq!(profile.discover, name == "generic-linux");
    }
    let error = Profile::named("raspberry-pi-9").unwrap_err().to_string();
    assert!(error.contains("there are raspberry-pi-zero, "), "{error}");
}

#[test]
fn a_pin_has_the_number_of_its_line_and_the_position_on_the_header() {
    for (name, chip) in [
        ("raspberry-pi-zero", "pinctrl-bcm2835"),
        ("raspberry-pi-zero-2", "pinctrl-bcm2835"),
        ("raspberry-pi-3", "pinctrl-bcm2835"),
        ("raspberry-pi-4", "pinctrl-bcm2711"),
        ("raspberry-pi-5", "pinctrl-rp1"),
    ] {
        let profile = Profile::named(name).unwrap();
        assert_eq!(profile.pins.len(), 28, "{name}");
        for (label, alias) in [
            ("GPIO2", "pin3"),
            ("GPIO17", "pin11"),
            ("GPIO21", "pin40"),
            ("GPIO4", "pin7"),
        ] {
            let pin = profile.pins.iter().find(|pin| pin.label == label).unwrap();
            assert_eq!((pin.alias.as_deref(), pin.chip.as_str()), (Some(alias), chip));
            assert_eq!(format!("GPIO{}", pin.line), label);
        }
    }
}

#[test]
fn the_model_decides_by_its_longest_beginning() {
    for (model, name) in [
        ("Raspberry Pi Zero W Rev 1.1\0", "raspberry-pi-zero"),
        ("Raspberry Pi Zero 2 W Rev 1.0\0", "raspberry-pi-zero-2"),
        ("Raspberry Pi 3 Model B\0", "raspberry-pi-3"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "raspberry-pi-3"),
        ("Raspberry Pi 400 Rev 1.0", "raspberry-pi-4"),
        ("Raspberry Pi Compute Module 4 Rev 1.1", "raspberry-pi-4"),
        ("Raspberry Pi 5 Model B Rev 1.0\0", "raspberry-pi-5"),
        ("Raspberry Pi 50", "generic-linux"),
        ("linux,dummy-virt\0", "generic-linux"),
        ("", "generic-linux"),
    ] {
        assert_eq!(profile::detect(model), name, "{model}");
    }
}

#[test]
fn a_file_adds_to_a_profile() {
    let profile = Profile::parse("mine", RELAY).unwrap();
    assert_eq!((profile.pins.len(), profile.models.len()), (29, 0));
    let relay = profile.pins.last().unwrap();
    assert_eq!((relay.label.as_str(), relay.line), ("relay", 17));
}

#[test]
fn what_is_wrong_in_a_file_is_named() {
    let with = |more: &str| format!("{RELAY}{more}");
    for (text, words) in [
        (
            with("[[pin]]\nlabel = \"relay\"\nchip = \"pinctrl-bcm2711\"\nline = 4"),
            "pin \"relay\": the label is used twice",
        ),
        (
            with("[[pin]]\nlabel = \"pin11\"\nchip = \"pinctrl-bcm2711\"\nline = 4"),
            "pin \"pin11\": the label is used twice",
        ),
        (
            RELAY.replace("17", "58"),
            "pin \"relay\": chip \"pinctrl-bcm2711\" has 58 lines from 0, none 58",
        ),
        (RELAY.replace("17", "4294967296"), "4294967296"),
        (RELAY.replace("17", "-1"), "-1"),
        (RELAY.replace("17", "99999999999999999999"), "line"),
        (
            RELAY.replace("\"pinctrl-bcm2711\"", "\"pinctrl\""),
            "chip \"pinctrl\" has no [[chip]]",
        ),
        (RELAY.replace("line =", "lime ="), "unknown field `lime`"),
        (
            RELAY.replace("pi-4", "pi-6"),
            "base \"raspberry-pi-6\" is none of",
        ),
        (RELAY.replace("relay", "a relay"), "pin \"a relay\": a label has"),
        (
            with("[[i2c]]\nlabel = \"b\"\nnode = \"../mem\""),
            "i2c \"b\": \"../mem\" is no path below /dev",
        ),
        (
            with("[[uart]]\nlabel = \"b\"\nnode = \"/dev/mem\""),
            "is no path below /dev",
        ),
        (
            with("[[spi]]\nlabel = \"b\"\nnode = \"spidev0.0\"\nmode = 4"),
            "spi \"b\": mode is 0 to 3",
        ),
        (
            with("[[adc]]\nlabel = \"b\"\ndevice = \"ads1015\"\nchannel = \"../raw\""),
            "adc \"b\": \"../raw\" is not the name",
        ),
        (
            with("[[pwm]]\nlabel = \"pwm0\"\ndevice = \"x\"\nchannel = 0"),
            "pwm \"pwm0\": the label is used twice",
        ),
        (
            "[header]\nlayout = \"hat\"\nchip = \"c\"".to_owned(),
            "header layout \"hat\" is not known",
        ),
    ] {
        let error = Profile::parse("mine", &text).unwrap_err().to_string();
        assert!(error.starts_with("board profile mine: "), "{error}");
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn a_file_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("board.toml");
    std::fs::write(&path, format!("# {}", "x".repeat(64 << 10))).unwrap();
    let error = Profile::read(&path).unwrap_err().to_string();
    assert!(
        error.contains("board.toml: the file is larger than 64 KiB"),
        "{error}"
    );
    std::fs::write(&path, RELAY).unwrap();
    assert_eq!(Profile::read(&path), Profile::parse("mine", RELAY));
    let error = Profile::read(&folder.path().join("none"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("No such file"), "{error}");
}
