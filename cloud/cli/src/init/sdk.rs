//! The guest SDK for new firmware in Rust: the crate and the world beside it, in the version of this program.

macro_rules! file {
    ($from:literal, $to:literal) => {
        ($to, include_str!(concat!("../../../../sandbox/", $from)))
    };
}

/// Paths and texts, relative to the firmware's folder.
pub(super) const FILES: [(&str, &str); 40] = [
    file!("firmware/Cargo.toml", "iottly/firmware/Cargo.toml"),
    file!("firmware/src/adc.rs", "iottly/firmware/src/adc.rs"),
    file!("firmware/src/app.rs", "iottly/firmware/src/app.rs"),
    file!(
        "firmware/src/bindings/absent.rs",
        "iottly/firmware/src/bindings/absent.rs"
    ),
    file!(
        "firmware/src/bindings/mod.rs",
        "iottly/firmware/src/bindings/mod.rs"
    ),
    file!(
        "firmware/src/bindings/wasm.rs",
        "iottly/firmware/src/bindings/wasm.rs"
    ),
    file!("firmware/src/clock.rs", "iottly/firmware/src/clock.rs"),
    file!("firmware/src/config.rs", "iottly/firmware/src/config.rs"),
    file!("firmware/src/debounce.rs", "iottly/firmware/src/debounce.rs"),
    file!("firmware/src/device.rs", "iottly/firmware/src/device.rs"),
    file!("firmware/src/fault.rs", "iottly/firmware/src/fault.rs"),
    file!("firmware/src/gpio.rs", "iottly/firmware/src/gpio.rs"),
    file!("firmware/src/i2c.rs", "iottly/firmware/src/i2c.rs"),
    file!("firmware/src/identity.rs", "iottly/firmware/src/identity.rs"),
    file!("firmware/src/lib.rs", "iottly/firmware/src/lib.rs"),
    file!("firmware/src/log.rs", "iottly/firmware/src/log.rs"),
    file!("firmware/src/message.rs", "iottly/firmware/src/message.rs"),
    file!("firmware/src/pwm.rs", "iottly/firmware/src/pwm.rs"),
    file!("firmware/src/spi.rs", "iottly/firmware/src/spi.rs"),
    file!("firmware/src/state.rs", "iottly/firmware/src/state.rs"),
    file!("firmware/src/timers.rs", "iottly/firmware/src/timers.rs"),
    file!("firmware/src/uart.rs", "iottly/firmware/src/uart.rs"),
    file!("wit/adc.wit", "iottly/wit/adc.wit"),
    file!("wit/app.wit", "iottly/wit/app.wit"),
    file!("wit/clock.wit", "iottly/wit/clock.wit"),
    file!("wit/config.wit", "iottly/wit/config.wit"),
    file!("wit/gpio.wit", "iottly/wit/gpio.wit"),
    file!("wit/i2c.wit", "iottly/wit/i2c.wit"),
    file!("wit/identity.wit", "iottly/wit/identity.wit"),
    file!("wit/log.wit", "iottly/wit/log.wit"),
    file!("wit/pwm.wit", "iottly/wit/pwm.wit"),
    file!("wit/random.wit", "iottly/wit/random.wit"),
    file!("wit/script.wit", "iottly/wit/script.wit"),
    file!("wit/spi.wit", "iottly/wit/spi.wit"),
    file!("wit/state.wit", "iottly/wit/state.wit"),
    file!("wit/telemetry.wit", "iottly/wit/telemetry.wit"),
    file!("wit/timers.wit", "iottly/wit/timers.wit"),
    file!("wit/types.wit", "iottly/wit/types.wit"),
    file!("wit/uart.wit", "iottly/wit/uart.wit"),
    file!("wit/world.wit", "iottly/wit/world.wit"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::FILES;

    #[test]
    fn nothing_of_the_sdk_is_left_out() {
        let sandbox = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sandbox");
        let mut there = BTreeSet::from(["iottly/firmware/Cargo.toml".to_owned()]);
        for folder in ["firmware/src", "firmware/src/bindings", "wit"] {
            for entry in std::fs::read_dir(sandbox.join(folder)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    there.insert(format!(
                        "iottly/{folder}/{}",
                        entry.file_name().into_string().unwrap()
                    ));
                }
            }
        }
        assert_eq!(
            FILES
                .map(|(path, _)| path.to_owned())
                .into_iter()
                .collect::<BTreeSet<_>>(),
            there
        );
    }
}
