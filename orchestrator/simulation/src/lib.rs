#![doc = include_str!("../README.md")]

mod agent;
mod chance;
mod check;
mod containers;
mod door;
mod hub;
mod life;
mod memory;
mod people;
mod repository;
mod watch;
mod world;

pub use chance::Chance;
pub use life::{Play, Played, play};
pub use memory::{Access, Answer, Door, MemoryStore, Open, Tables};
