//! Sets the base URL, the proxy, the user agent and the path, one per line, and makes a client with the accepted
//! ones.
#![no_main]

use clopos_auth::{Client, Config, Credentials, Error, Status};
use clopos_fuzz::{SECRET, check_error};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(input) = str::from_utf8(input) else {
        return;
    };
    let mut lines = input.split('\n');
    let [url, proxy, user_agent, path] = [(); 4].map(|()| lines.next().unwrap_or(""));
    let mut config = Config::new();

    let accepted = check(&config.set_base_url(url).map(drop));
    assert!(!accepted || !url.contains(['#', '?']), "{url}");
    let accepted = check(&config.set_proxy(proxy).map(drop));
    if !accepted {
        config.set_proxy("none").expect("it is valid");
    }
    // A password in a proxy's URL is a secret; its host's name is not.
    let is_password = proxy
        .rsplit_once('@')
        .is_some_and(|(_, host)| !host.contains(SECRET));
    if is_password && !url.contains(SECRET) {
        assert!(!format!("{config:?}").contains(SECRET));
    }
    let accepted = check(&config.set_user_agent(user_agent).map(drop));
    assert!(!accepted || user_agent.bytes().all(|byte| (b' '..=b'~').contains(&byte)));

    let accepted = check(&config.set_auth_path(path).map(drop));
    assert!(!accepted || path.starts_with('/') && !path.starts_with("//"));

    let credentials = Credentials::new("a", "b", "c", "d").expect("they are valid");
    config.set_allow_plain_http(true);
    Client::new(credentials, &config).expect("accepted settings make a client");
});

fn check(result: &Result<(), Error>) -> bool {
    if let Err(error) = result {
        check_error(error);
        assert_eq!(error.status(), Status::InvalidArgument);
    }
    result.is_ok()
}
