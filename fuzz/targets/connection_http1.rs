#![no_main]
nessen_fuzz::target!("connection_http1");
