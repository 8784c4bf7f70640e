//! Any body is a request, or refused with 4xx: never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| powerinfer_server::fuzzing::check(body));
