#![no_main]
nessen_fuzz::target!("forwarded");
