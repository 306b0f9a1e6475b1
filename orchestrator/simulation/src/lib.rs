#![doc = "x"]
mod chance; mod memory; pub use chance::Chance; pub use memory::*;
