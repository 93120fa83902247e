//! Counts how often a button is pressed. Contacts bounce, so a level counts once it has lasted for 20 ms.

use iottly_firmware::prelude::*;

const HOLD: Duration = Duration::from_millis(20);

struct Button {
    pin: gpio::Input,
    led: gpio::Output,
    edges: [Source; 2],
    timer: Option<Source>,
    contact: Debounce,
    presses: u32,
}

impl Firmware for Button {
    fn init() -> Result<Self, Fault> {
        let mut pin = gpio::input("button", gpio::Pull::Down)?;
        let edges = [pin.watch(gpio::Edge::Rising)?, pin.watch(gpio::Edge::Falling)?];
        let contact = Debounce::new(HOLD, pin.is_high()?);
        Ok(Self {
            pin,
            led: gpio::output("led")?,
            edges,
            timer: None,
            contact,
            presses: 0,
        })
    }

    fn event(&mut self, event: Event) -> Result<(), Fault> {
        if self.edges.contains(&event.source) {
            if let Some(timer) = self.timer.take() {
                timers::cancel(timer);
            }
            self.timer = Some(timers::after(self.contact.edge(event.at))?);
        } else if self.timer == Some(event.source) {
            self.timer = None;
            match self.contact.settled(self.pin.is_high()?, event.at) {
                Some(true) => self.pressed()?,
                Some(false) => self.led.set_low()?,
                None => {}
            }
        }
        Ok(())
    }
}

impl Button {
    fn pressed(&mut self) -> Result<(), Fault> {
        self.presses += 1;
        self.led.set_high()?;
        send_msg(&json!({ "presses": self.presses }))
    }
}

iottly_firmware::firmware!(Button);
