//! The agent's file: small, because it is mounted into every container; static, because the image's C library is
//! nobody's business; stripped.

use anyhow::Result;

use super::MIB;
use crate::binary::{self, Linkage, Symbols};
use crate::measure::sample;
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;

/// Most bytes.
const MAX_BYTES: f64 = 3.0 * MIB;

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let agent = binary::look(&scene.agent()?)?;
    let mut faults = Vec::new();
    if agent.linkage == Linkage::Dynamic {
        faults.push("not static; make it with `make build`".to_owned());
    }
    if agent.symbols == Symbols::Present {
        faults.push("not stripped; make it with `make build`".to_owned());
    }
    #[expect(clippy::cast_precision_loss, reason = "a program of less than 4 PiB")]
    let size = sample(vec![agent.bytes as f64])?;
    let row = Row::alone(
        "agent: size, static and stripped",
        Unit::Bytes,
        &size,
        Promise::AtMost(MAX_BYTES),
        faults,
    );
    Ok(Measured { rows: vec![row], notes: Vec::new() })
}
