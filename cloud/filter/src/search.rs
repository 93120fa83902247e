//! A search for a regular expression whose every step is counted.
//!
//! The automaton is built while the text is read (a lazy DFA). Reading a byte through states that are known
//! is one step; a state that has to be built first costs as many as the expression has states.

use std::sync::{Mutex, TryLockError};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{NFA, pikevm::PikeVM};
use regex_automata::{Anchored, Input};

use crate::budget::{Budget, Stop};
use crate::limits::PATTERN_CACHE_BYTES;

/// Bytes of a text whose steps are spent at once.
const BLOCK_BYTES: usize = 4096;
/// Steps of building one state of the automaton, in addition to those for the states of the expression.
const BUILD_STEPS: u64 = 64;
/// Steps per state of the expression when a state of the automaton is built, or when the automaton cannot be
/// used.
const STATE_STEPS: u64 = 4;

/// A compiled regular expression.
#[derive(Debug)]
pub(super) struct Search {
    dfa: DFA,
    /// Fallback where the automaton cannot decide: a Unicode word boundary next to a character that is not ASCII.
    simulation: PikeVM,
    /// States of the expression.
    states: u64,
    /// States of the automaton built so far; none before the first search.
    built: Mutex<Option<Box<Cache>>>,
}

/// Answer of the automaton.
enum Answer {
    Matches(bool),
    CannotTell,
}

impl Search {
    /// Prepares searches.
    pub(super) fn new(nfa: NFA) -> Result<Self, String> {
        let states = nfa.states().len() as u64;
        let config = DFA::config()
            .cache_capacity(PATTERN_CACHE_BYTES)
            // An expression within its own limit gets what two of its states need.
            .skip_cache_capacity_check(true)
            .unicode_word_boundary(true);
        let dfa = DFA::builder()
            .configure(config)
            .build_from_nfa(nfa.clone())
            .map_err(|error| error.to_string())?;
        let simulation = PikeVM::new_from_nfa(nfa).map_err(|error| error.to_string())?;
        Ok(Self {
            dfa,
            simulation,
            states,
            built: Mutex::new(None),
        })
    }

    /// Returns whether the expression matches anywhere in the text.
    pub(super) fn finds(&self, text: &str, budget: &mut Budget<'_>) -> Result<bool, Stop> {
        // Another thread may be using what is built; then this one builds its own.
        let mut kept = match self.built.try_lock() {
            Ok(kept) => Some(kept),
            Err(TryLockError::Poisoned(kept)) => Some(kept.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let mut built = match kept.as_mut().and_then(|kept| kept.take()) {
            Some(built) => built,
            None => {
                budget.spend(BUILD_STEPS + self.states)?;
                Box::new(self.dfa.create_cache())
            }
        };
        let answer = self.walk(text.as_bytes(), &mut built, budget);
        if let Some(kept) = &mut kept {
            **kept = Some(built);
        }
        match answer? {
            Answer::Matches(matches) => Ok(matches),
            Answer::CannotTell => self.simulate(text, budget),
        }
    }

    fn walk(&self, text: &[u8], built: &mut Cache, budget: &mut Budget<'_>) -> Result<Answer, Stop> {
        let building = BUILD_STEPS + STATE_STEPS * self.states;
        budget.spend(1)?;
        let Ok(mut state) = self.dfa.start_state_forward(built, &Input::new(text)) else {
            return Ok(Answer::CannotTell);
        };
        for block in text.chunks(BLOCK_BYTES) {
            budget.spend(block.len() as u64)?;
            for &byte in block {
                // Only the start can be tagged here: the other tagged states end the search.
                let mut next = if state.is_tagged() {
                    state
                } else {
                    self.dfa.next_state_untagged(built, state, byte)
                };
                if state.is_tagged() || next.is_unknown() {
                    budget.spend(building)?;
                    let Ok(known) = self.dfa.next_state(built, state, byte) else {
                        return Ok(Answer::CannotTell);
                    };
                    next = known;
                }
                if next.is_tagged() {
                    if next.is_match() || next.is_dead() {
                        return Ok(Answer::Matches(next.is_match()));
                    }
                    if next.is_quit() {
                        return Ok(Answer::CannotTell);
                    }
                }
                state = next;
            }
        }
        budget.spend(building)?;
        // A match shows one step after it ends, so the end of the text is a step of its own.
        Ok(match self.dfa.next_eoi_state(built, state) {
            Ok(end) if !end.is_quit() => Answer::Matches(end.is_match()),
            _ => Answer::CannotTell,
        })
    }

    /// Decides state by state. The search cannot be interrupted, so its steps are spent before.
    fn simulate(&self, text: &str, budget: &mut Budget<'_>) -> Result<bool, Stop> {
        budget.spend(
            (text.len() as u64 + 1)
                .saturating_mul(self.states)
                .saturating_mul(STATE_STEPS),
        )?;
        let input = Input::new(text).anchored(Anchored::No).earliest(true);
        Ok(self
            .simulation
            .is_match(&mut self.simulation.create_cache(), input))
    }
}
