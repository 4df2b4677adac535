//! A fork while other threads make and free configs, before the process has made a client. In a program of its
//! own, so that no other test has registered the fork handler.
#![cfg(target_os = "linux")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clopos_auth::ffi::{clopos_auth_config_free, clopos_auth_config_new};
use support::Child;

#[test]
fn a_child_can_make_a_config_while_its_parent_makes_some() {
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
        assert_eq!(child.output(), "true");
    }
    OVER.store(true, Ordering::Relaxed);
    for maker in makers {
        maker.join().unwrap();
    }
}
