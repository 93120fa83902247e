//! Parts that several screens share: icons, presence, tables, filters, empty states, and the box that shows an
//! action as a command line and as a request.

pub(super) mod age;
pub(super) mod csv;
pub(super) mod empty;
pub(super) mod figure;
pub(super) mod filter;
pub(super) mod icons;
pub(super) mod json;
pub(super) mod lane;
pub(super) mod notice;
pub(super) mod presence;
pub(super) mod question;
pub(super) mod refusal;
pub(super) mod script;
pub(super) mod stream;
