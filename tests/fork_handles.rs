//! A fork harms the handles of neither side, even before there was any client: the very first handles
//! of a process are its settings. Alone in its program, so that nothing else has watched for forks yet.
#![cfg(target_os = "linux")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clopos_auth::ffi::{clopos_auth_config_free, clopos_auth_config_new};
use support::Child;

#[test]
fn a_child_makes_settings_although_its_parent_was_making_some() {
    static OVER: AtomicBool = AtomicBool::new(false);
    let makers = [(), ()].map(|()| {
        thread::spawn(|| {
            while !OVER.load(Ordering::Relaxed) {
                clopos_auth_config_free(clopos_auth_config_new());
            }
        })
    });
    for _ in 0..200 {
        let child = Child::fork(|| {
            let config = clopos_auth_config_new();
            clopos_auth_config_free(config);
            format!("{}", !config.is_null())
        });
        assert_eq!(child.found(), "true");
    }
    OVER.store(true, Ordering::Relaxed);
    for maker in makers {
        maker.join().unwrap();
    }
}
