//! One question to a dependency: is it there, and well?
