//! View of a virtual board from the cloud: sends its state while a person watches, and applies what people press and set.
//!
//! States are not messages: none is stored, the newest replaces the ones before it, and without an order of the cloud that is
//! a few seconds old none is made. Real hardware has no view, and the owner's policy can forbid it.

mod pace;

use std::sync::Arc;
use std::time::Duration;

use iottly_boards::Board;
use iottly_boards::virtual_board::{Direction, Fitting, VirtualBoard};
use iottly_protocol::board::{
    BoardMessage, BoardOrder, BoardPin, BoardPwm, BoardSensor, BoardState, PinDirection, PinFitting,
};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use self::pace::{Pace, Touch};
use crate::clock::Monotonic;
use crate::throttle::LogLimit;

/// Maximum number of orders that wait; further ones are dropped, and the cloud renews its order every few seconds.
const ORDERS: usize = 32;

/// End of the view that the link holds.
pub(crate) struct BoardPort {
    /// Orders of the cloud.
    pub(crate) orders: mpsc::Sender<BoardOrder>,
    /// Newest state, encoded; empty before the first.
    pub(crate) states: watch::Receiver<Vec<u8>>,
}

/// Task of the view.
pub(crate) struct BoardView {
    board: Arc<dyn Board>,
    orders: mpsc::Receiver<BoardOrder>,
    states: watch::Sender<Vec<u8>>,
}

impl BoardView {
    /// Returns the view of a board, with the end for the link; none for real hardware.
    pub(crate) fn of(board: &Arc<dyn Board>) -> Option<(Self, BoardPort)> {
        VirtualBoard::of(board.as_ref())?;
        let (orders_tx, orders) = mpsc::channel(ORDERS);
        let (states, states_rx) = watch::channel(Vec::new());
        let view = Self {
            board: Arc::clone(board),
            orders,
            states,
        };
        let port = BoardPort {
            orders: orders_tx,
            states: states_rx,
        };
        Some((view, port))
    }

    /// Runs until the link ends.
    pub(crate) async fn run(mut self) {
        let (clock, mut pace) = (Monotonic::start(), Pace::default());
        loop {
            let wait = pace
                .next(clock.now_ms())
                .map(|at| Duration::from_millis(at.saturating_sub(clock.now_ms())));
            let touches = tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => pace.order(order, clock.now_ms()),
                    None => return,
                },
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => pace.due(clock.now_ms()),
            };
            let Some(board) = VirtualBoard::of(self.board.as_ref()) else {
                return;
            };
            for touch in touches {
                apply(board, &mut pace, touch);
            }
            if pace.is_watched(clock.now_ms()) {
                let state = BoardMessage::State(state(board, pace.applied())).encode();
                if pace.send(&state, clock.now_ms()) && self.states.send(state).is_err() {
                    return;
                }
            }
        }
    }
}

fn apply(board: &VirtualBoard, pace: &mut Pace, touch: Touch) {
    let result = match &touch {
        Touch::Button(label, pressed) => board.press(label, *pressed),
        Touch::Sensor(name, value) => board.set_sensor(name, *value),
    };
    if let Err(error) = result {
        if let Touch::Button(label, _) = &touch {
            pace.refused(label);
        }
        static REFUSED: LogLimit = LogLimit::new();
        if let Some(more) = REFUSED.pass() {
            tracing::info!(%error, suppressed = more, "the board refused an input of a person; skipping it");
        }
    }
}

/// Returns the state of a board as it is sent.
fn state(board: &VirtualBoard, applied: u64) -> BoardState {
    let view = board.view();
    let pins = view.pins.into_iter().map(|pin| BoardPin {
        label: pin.label,
        fitting: match pin.fitting {
            Fitting::Led => PinFitting::Led,
            Fitting::Button => PinFitting::Button,
            Fitting::Load => PinFitting::Load,
            Fitting::Nothing => PinFitting::Nothing,
        },
        direction: match pin.direction {
            Direction::Input => PinDirection::Input,
            Direction::Output => PinDirection::Output,
            Direction::Free => PinDirection::Free,
        },
        high: pin.high,
    });
    let pwm = view.pwm.into_iter().map(|output| BoardPwm {
        label: output.label,
        hertz: output.hertz,
        duty: output.duty,
    });
    let sensors = view.sensors.into_iter().map(|sensor| BoardSensor {
        name: sensor.name,
        part: sensor.part,
        unit: sensor.unit.to_owned(),
        value: sensor.value,
        min: sensor.min,
        max: sensor.max,
    });
    BoardState {
        applied,
        header: view.header,
        pins: pins.collect(),
        pwm: pwm.collect(),
        sensors: sensors.collect(),
    }
}

#[cfg(test)]
mod tests {
    use iottly_boards::{LinuxBoard, profile};
    use iottly_protocol::board::BoardInput;

    use super::*;

    #[test]
    fn real_hardware_has_no_view() {
        for name in profile::names() {
            let profile = profile::Profile::named(name).expect("it exists");
            let board: Arc<dyn Board> = Arc::new(LinuxBoard::new(profile));
            assert!(BoardView::of(&board).is_none(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_viewer_sees_the_board_and_presses_its_button() {
        let board = VirtualBoard::standard();
        let shared: Arc<dyn Board> = Arc::new(board.clone());
        let (view, mut port) = BoardView::of(&shared).expect("a virtual board");
        let running = tokio::spawn(view.run());
        sleep(Duration::from_millis(300)).await;
        assert!(!port.states.has_changed().expect("runs"), "there is no viewer");
        let press = BoardOrder {
            number: 9,
            watch_ms: 5000,
            inputs: vec![BoardInput::Press {
                button: "button".to_owned(),
                hold_ms: 150,
            }],
        };
        port.orders.send(press).await.expect("runs");
        let mut seen = Vec::new();
        while seen.last() != Some(&false) {
            port.states.changed().await.expect("runs");
            let BoardMessage::State(state) =
                BoardMessage::decode(&port.states.borrow_and_update()).expect("a state");
            assert_eq!(state.applied, 9);
            let button = state.pins.iter().find(|pin| pin.label == "button");
            seen.push(button.expect("a button").high);
        }
        assert!(seen[0], "pressed at first, and released by itself: {seen:?}");
        drop(port);
        running.await.expect("ends with the link");
    }

    #[test]
    fn a_state_of_the_standard_board_is_small() {
        let state = BoardMessage::State(state(&VirtualBoard::standard(), u64::MAX)).encode();
        assert!(state.len() < 1600, "{} bytes", state.len());
        assert!(BoardMessage::decode(&state).is_ok());
    }
}
