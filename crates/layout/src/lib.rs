//! Where facts live: every registry key and stored form, ElasticJob's tree on every registry.

pub mod clock;
pub mod document;
pub mod file;
pub mod guarantee;
pub mod ineligible;
pub mod keys;
pub mod plan;
pub mod record;
pub mod settings;
pub mod trigger;
pub mod yaml;
