//! The manifest of a firmware, `firmware.toml`: its name, the labels and channels it uses and the sizes it
//! needs.
//!
//! ```toml
//! name = "thermostat"
//! lang = "js"                    # or "rust"; may be left out
//!
//! [capabilities]                 # everything of the board is denied unless it is named here
//! gpio = ["heater", "button"]
//! i2c = ["sensors"]              # likewise spi, uart, pwm, adc
//! channels = ["alarm"]           # when given, messages go to these channels only
//!
//! [sizes]                        # each is optional and never above what the device allows
//! memory = 4194304               # bytes of linear memory
//! payload = 65536                # bytes of one message
//! state_bytes = 4096             # key-value state, keys and values together
//! state_keys = 16
//! ```
//!
//! A build puts the manifest's text into the component ([`embed`]), so it is signed and travels with the
//! code; a device reads it back ([`extract`]). A component without one asks for nothing. A script travels in the
//! same way, as a component without code ([`Script::component`]).

mod interface;
mod manifest;
mod script;
mod section;

pub use interface::Interface;
pub use manifest::{Capabilities, Lang, MAX_NAME_BYTES, Manifest, ManifestError, Sizes};
pub use script::{MAIN, MAX_SCRIPT_BYTES, MAX_SCRIPT_FILES, Script, ScriptError};
pub use section::{SectionError, embed, extract};
