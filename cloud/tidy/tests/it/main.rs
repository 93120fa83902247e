//! Rules of the repository that the compiler does not check.

mod crates;
mod cycles;
mod documents;
mod licences;
mod limits;
mod lists;
mod logs;
mod programs;
mod repository;
mod sizes;
mod words;
