#![doc = include_str!("../README.md")]

mod authorise;
mod characters;
mod command;
mod command_error;
mod delivery;
mod event;
mod grammar;
mod html;
mod markdown;
mod marker;
mod near;
mod notice;
mod reader;
mod rules;
mod sections;
mod signature;
mod tokens;
mod trigger;
mod trust;
mod values;
mod visible;
mod wire;

pub use authorise::{AccessRules, Allowed, Authority, Denial, Level, PermissionFact, authorise};
pub use command::{Found, Spelling, parse, render, without_command};
pub use command_error::CommandError;
pub use delivery::{DeliveryError, DeliveryHeaders, Header};
pub use event::{Unreadable, read};
pub use grammar::{command_reference, help_text};
pub use marker::{carries_marker, disarm, neutralize};
pub use notice::{
    Conclusion, Happening, Head, InstallationChange, Notice, RepositoryRef, Said, SaidAt, Sender, SenderKind,
    Thing, Verdict,
};
pub use rules::Rules;
pub use sections::{Sections, sections};
pub use signature::{SIGNATURE_HEADER, SignatureError, Verifier, verify};
pub use trigger::{Trigger, Why, is_part_of_review, other_keys, takes_its_lines, trigger};
pub use trust::{Change, Kept, LeftOut, Selection, Standing, TextKind, ThreadText, TrustRules, select};
pub use visible::{Removed, Visible, visible};
