//! A BME280 climate sensor: registers, calibration and measurement as its data sheet describes them, so that
//! drivers for the real sensor read plausible values.

use std::sync::{Arc, Mutex};

use super::{I2cDevice, locked};

const CHIP_ID: (u8, u8) = (0xd0, 0x60);
const RESET: u8 = 0xe0;
const RESET_WORD: u8 = 0xb6;
const CTRL_HUM: u8 = 0xf2;
const STATUS: u8 = 0xf3;
const CTRL_MEAS: u8 = 0xf4;
const CONFIG: u8 = 0xf5;
/// First of the eight data registers: pressure, temperature, humidity.
const DATA: u8 = 0xf7;

// Calibration values: temperature and pressure are the data sheet's example, humidity those of a usual part.
const T1: f64 = 27504.0;
const T2: f64 = 26435.0;
const T3: f64 = -1000.0;
const P: [f64; 9] = [
    36477.0, -10685.0, 3024.0, 2855.0, 140.0, -7.0, 15500.0, -14600.0, 6000.0,
];
const H1: u8 = 75;
const H2: i16 = 362;
const H3: u8 = 0;
const H4: i16 = 324;
const H5: i16 = 50;
const H6: i8 = 30;

/// Climate that a [`Bme280`] measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Climate {
    /// Temperature in degrees Celsius, -40 to 85.
    pub celsius: f64,
    /// Pressure in hectopascal, 300 to 1100.
    pub hectopascal: f64,
    /// Relative humidity in percent, 0 to 100.
    pub percent: f64,
}

impl Default for Climate {
    fn default() -> Self {
        Self {
            celsius: 21.5,
            hectopascal: 1013.25,
            percent: 45.0,
        }
    }
}

/// Climate sensor. Clones are the same sensor, so a test keeps one and puts the other on a bus.
#[derive(Clone)]
pub struct Bme280 {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    climate: Climate,
    registers: [u8; 256],
    at: u8,
}

impl Default for Bme280 {
    fn default() -> Self {
        Self::new(Climate::default())
    }
}

impl Bme280 {
    /// Returns a sensor in this climate.
    #[must_use]
    pub fn new(climate: Climate) -> Self {
        let mut inner = Inner {
            climate: clamp(climate),
            registers: [0; 256],
            at: 0,
        };
        inner.reset();
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Changes the climate; firmware sees it at its next measurement. Values are limited to the sensor's
    /// range.
    pub fn set(&self, climate: Climate) {
        locked(&self.inner).climate = clamp(climate);
    }

    /// Returns the climate.
    #[must_use]
    pub fn climate(&self) -> Climate {
        locked(&self.inner).climate
    }
}

fn clamp(climate: Climate) -> Climate {
    Climate {
        celsius: climate.celsius.clamp(-40.0, 85.0),
        hectopascal: climate.hectopascal.clamp(300.0, 1100.0),
        percent: climate.percent.clamp(0.0, 100.0),
    }
}

impl Inner {
    fn put(&mut self, register: u8, bytes: &[u8]) {
        let from = usize::from(register);
        self.registers[from..from + bytes.len()].copy_from_slice(bytes);
    }

    fn reset(&mut self) {
        self.registers = [0; 256];
        self.put(CHIP_ID.0, &[CHIP_ID.1]);
        let [t1, t2, t3] = [T1, T2, T3].map(word);
        let trims: Vec<u8> = [t1, t2, t3].into_iter().chain(P.map(word)).flatten().collect();
        self.put(0x88, &trims);
        self.put(0xa1, &[H1]);
        let [h2_low, h2_high] = H2.to_le_bytes();
        let [h4, h5] = [H4, H5].map(|trim| trim.to_le_bytes());
        // H4 and H5 have twelve bits and share the middle byte.
        let shared = (h4[0] & 0x0f) | (h5[0] << 4);
        let h4_high = u8::try_from((H4 >> 4) & 0xff).expect("eight bits");
        let h5_high = u8::try_from((H5 >> 4) & 0xff).expect("eight bits");
        self.put(
            0xe1,
            &[h2_low, h2_high, H3, h4_high, shared, h5_high, H6.to_le_bytes()[0]],
        );
        self.put(DATA, &[0x80, 0, 0, 0x80, 0, 0, 0x80, 0]);
    }

    /// Writes one register; most of them are read-only.
    fn write(&mut self, register: u8, value: u8) {
        match register {
            RESET if value == RESET_WORD => self.reset(),
            CTRL_HUM | CONFIG => self.put(register, &[value]),
            CTRL_MEAS => {
                self.put(register, &[value]);
                if value & 0b11 != 0 {
                    self.measure();
                }
                // In forced mode the sensor measures once and returns to sleep.
                if matches!(value & 0b11, 1 | 2) {
                    self.put(register, &[value & !0b11]);
                }
            }
            _ => {}
        }
    }

    /// Measures if the sensor is in normal mode.
    fn refresh(&mut self) {
        if self.registers[usize::from(CTRL_MEAS)] & 0b11 == 0b11 {
            self.measure();
        }
    }

    fn measure(&mut self) {
        self.put(STATUS, &[0]);
        let Climate {
            celsius,
            hectopascal,
            percent,
        } = self.climate;
        let temperature = solve(1 << 20, |raw| fine(raw) / 5120.0, celsius);
        let t_fine = fine(f64::from(temperature));
        let pressure = solve(1 << 20, |raw| -pascal(raw, t_fine), -hectopascal * 100.0);
        let humidity = solve(1 << 16, |raw| relative(raw, t_fine), percent);
        let [_, p0, p1, p2] = (pressure << 4).to_be_bytes();
        let [_, t0, t1, t2] = (temperature << 4).to_be_bytes();
        let [_, _, h0, h1] = humidity.to_be_bytes();
        self.put(DATA, &[p0, p1, p2, t0, t1, t2, h0, h1]);
        self.skip_what_is_off();
    }

    /// Marks values whose oversampling is 0 as not measured.
    fn skip_what_is_off(&mut self) {
        let measure = self.registers[usize::from(CTRL_MEAS)];
        if (measure >> 2) & 0b111 == 0 {
            self.put(DATA, &[0x80, 0, 0]);
        }
        if measure >> 5 == 0 {
            self.put(DATA + 3, &[0x80, 0, 0]);
        }
        if self.registers[usize::from(CTRL_HUM)] & 0b111 == 0 {
            self.put(DATA + 6, &[0x80, 0]);
        }
    }
}

/// Returns a calibration value as the registers hold it: a whole number of 16 bits, signed or not.
#[allow(clippy::cast_possible_truncation, reason = "the constants above fit")]
fn word(trim: f64) -> [u8; 2] {
    let [low, high, ..] = (trim as i32).to_le_bytes();
    [low, high]
}

/// Returns the data sheet's `t_fine` (double precision variant).
fn fine(raw: f64) -> f64 {
    let first = (raw / 16384.0 - T1 / 1024.0) * T2;
    let second = (raw / 131_072.0 - T1 / 8192.0).powi(2) * T3;
    first + second
}

/// Returns the data sheet's pressure in pascal.
fn pascal(raw: f64, t_fine: f64) -> f64 {
    let [p1, p2, p3, p4, p5, p6, p7, p8, p9] = P;
    let mut first = t_fine / 2.0 - 64_000.0;
    let mut second = first * first * p6 / 32_768.0 + first * p5 * 2.0;
    second = second / 4.0 + p4 * 65_536.0;
    first = (p3 * first * first / 524_288.0 + p2 * first) / 524_288.0;
    first = (1.0 + first / 32_768.0) * p1;
    let mut pressure = (1_048_576.0 - raw - second / 4096.0) * 6250.0 / first;
    first = p9 * pressure * pressure / 2_147_483_648.0;
    second = pressure * p8 / 32_768.0;
    pressure += (first + second + p7) / 16.0;
    pressure
}

/// Returns the data sheet's relative humidity in percent, before it is limited to 0 to 100.
fn relative(raw: f64, t_fine: f64) -> f64 {
    let [h1, h2, h3, h4, h5, h6] = [
        f64::from(H1),
        f64::from(H2),
        f64::from(H3),
        f64::from(H4),
        f64::from(H5),
        f64::from(H6),
    ];
    let t = t_fine - 76_800.0;
    let humidity = (raw - (h4 * 64.0 + h5 / 16_384.0 * t))
        * (h2 / 65_536.0 * (1.0 + h6 / 67_108_864.0 * t * (1.0 + h3 / 67_108_864.0 * t)));
    humidity * (1.0 - h1 * humidity / 524_288.0)
}

/// Returns the raw value below `end` for which the rising function `of` is closest to `target`.
fn solve(end: u32, of: impl Fn(f64) -> f64, target: f64) -> u32 {
    let mut low = 0;
    let mut high = end - 1;
    while low < high {
        let middle = low + (high - low) / 2;
        if of(f64::from(middle)) < target {
            low = middle + 1
        } else {
            high = middle
        }
    }
    low
}

impl I2cDevice for Bme280 {
    /// Writes pairs of register and value; a register alone is where the next read begins.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let mut inner = locked(&self.inner);
        for pair in bytes.chunks(2) {
            match *pair {
                [register, value] => inner.write(register, value),
                [register] => inner.at = register,
                _ => {}
            }
        }
        true
    }

    fn read(&mut self, into: &mut [u8]) {
        let mut inner = locked(&self.inner);
        inner.refresh();
        for byte in into {
            *byte = inner.registers[usize::from(inner.at)];
            inner.at = inner.at.wrapping_add(1);
        }
    }
}
