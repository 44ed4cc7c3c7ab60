//! The fuzz targets, each a program: see `README.md`. What they feed is in `src/fuzzing`.

mod counting;

/// Begins to count what is allocated.
pub fn begin() {
    nessen::fuzzing::count_with(nessen::fuzzing::Meter { reset: counting::reset, peak: counting::peak });
}

/// A program that feeds the target of this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(init: $crate::begin(), |data: &[u8]| nessen::fuzzing::run($name, data));
    };
}
