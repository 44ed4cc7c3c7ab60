#![no_main]
nessen_fuzz::target!("path");
