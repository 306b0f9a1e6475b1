//! What kind of program a file is. Sixty lines instead of a library: three facts of the ELF header are all it takes.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Program header type of the path of a dynamic loader.
const PT_INTERP: u64 = 3;
/// Section header type of a symbol table, which stripping removes. (`.dynsym` is another type.)
const SHT_SYMTAB: u64 = 2;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binary {
    /// Its size on disk.
    pub(crate) bytes: u64,
    /// How it is linked.
    pub(crate) linkage: Linkage,
    /// Whether its symbols are gone.
    pub(crate) symbols: Symbols,
}

/// How a program is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linkage {
    /// The kernel starts it without help.
    Static,
    /// It names a dynamic loader.
    Dynamic,
}

/// Whether a program carries a symbol table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbols {
    /// It does not.
    Stripped,
    /// It does.
    Present,
}

/// Looks at a program.
pub(crate) fn look(path: &Path) -> Result<Binary> {
    let file = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let broken = || format!("{} is not a whole 64-bit little-endian ELF file", path.display());
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!(broken());
    }
    let (programs, sections) = headers(&file).with_context(broken)?;
    Ok(Binary {
        bytes: file.len() as u64,
        linkage: if programs.contains(&PT_INTERP) { Linkage::Dynamic } else { Linkage::Static },
        symbols: if sections.contains(&SHT_SYMTAB) { Symbols::Present } else { Symbols::Stripped },
    })
}

/// The types of all program headers and of all section headers. Offsets after the ELF-64 specification.
fn headers(file: &[u8]) -> Option<(Vec<u64>, Vec<u64>)> {
    let types = |table_at: usize, sizes_at: usize, type_at: u64| {
        let table = number(file, table_at, 8)?;
        let (size, count) = (number(file, sizes_at, 2)?, number(file, sizes_at + 2, 2)?);
        (0..count)
            .map(|index| number(file, usize::try_from(table + index * size + type_at).ok()?, 4))
            .collect::<Option<Vec<u64>>>()
    };
    Some((types(0x20, 0x36, 0)?, types(0x28, 0x3a, 4)?))
}

fn number(file: &[u8], at: usize, bytes: usize) -> Option<u64> {
    let field = file.get(at..at.checked_add(bytes)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of one program header and one section header of these types, and nothing else.
    fn program(folder: &Path, program_type: u8, section_type: u8) -> Result<Binary> {
        let mut file = vec![0_u8; 0x100];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        // Where the tables are, then entry size and number of each.
        (file[0x20], file[0x36], file[0x38]) = (0x40, 0x38, 1);
        (file[0x28], file[0x3a], file[0x3c]) = (0x80, 0x40, 1);
        (file[0x40], file[0x84]) = (program_type, section_type);
        let path = folder.join("program");
        fs::write(&path, file).unwrap();
        look(&path)
    }

    #[test]
    fn a_loader_and_a_symbol_table_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (load, dynamic_symbols) = (1, 11);
        let expected = Binary { bytes: 0x100, linkage: Linkage::Static, symbols: Symbols::Stripped };
        assert_eq!(program(folder.path(), load, dynamic_symbols).unwrap(), expected);
        let expected = Binary { bytes: 0x100, linkage: Linkage::Dynamic, symbols: Symbols::Present };
        assert_eq!(program(folder.path(), 3, 2).unwrap(), expected);
    }

    #[test]
    fn a_text_and_a_torn_file_are_no_programs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for content in [&b"#!/bin/sh\n"[..], b"\x7fELF\x02\x01\x01"] {
            fs::write(&path, content).unwrap();
            assert!(look(&path).is_err());
        }
    }
}
