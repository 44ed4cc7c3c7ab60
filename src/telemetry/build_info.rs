//! What this binary was built from.

use std::time::{Duration, UNIX_EPOCH};

/// As on `/version` and in `nessen_build_info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInfo {
    /// Version of the package.
    pub version: &'static str,
    /// Git revision, or `unknown`.
    pub revision: &'static str,
    /// RFC 3339 in UTC, to the second.
    pub build_time: String,
    /// What `rustc --version` says.
    pub rustc: &'static str,
}

impl BuildInfo {
    /// Of the running binary.
    pub fn current() -> Self {
        let second = env!("BUILT_SECOND").parse().unwrap_or(0);
        let mut time = Vec::new();
        super::text::timestamp(&mut time, UNIX_EPOCH + Duration::from_secs(second));
        let time = String::from_utf8_lossy(&time).replace(".000Z", "Z");
        Self {
            version: env!("BUILT_VERSION"),
            revision: env!("BUILT_REVISION"),
            build_time: time,
            rustc: env!("BUILT_RUSTC"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_described() {
        let build = BuildInfo::current();
        assert_eq!(build.version, env!("BUILT_VERSION"));
        assert!(!build.revision.is_empty());
        assert!(build.rustc.starts_with("rustc ") || build.rustc == "unknown");
        assert!(build.build_time.ends_with('Z') && build.build_time.len() == 20, "{}", build.build_time);
    }
}
