"""Signs in to Clopos, shows the token, and requests the venues with it: python -m clopos_auth

CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND and CLOPOS_INTEGRATOR_ID are the credentials. For the
sandbox: CLOPOS_BASE_URL is its URL, CLOPOS_CA_FILE its CA in PEM, the only one trusted.
"""

import logging
import os
import pathlib
import ssl
import sys

from . import DEFAULT_BASE_URL, Client, Error, Roots, log_to, urlopen


def main() -> int:
    """Returns the exit status."""
    base_url = os.environ.get("CLOPOS_BASE_URL", DEFAULT_BASE_URL)
    ca_file = os.environ.get("CLOPOS_CA_FILE")

    logging.basicConfig(format="clopos %(levelname)s %(message)s", level=logging.INFO)
    try:
        # A variable that is not set is an empty string: the library refuses it by name.
        with Client(
            client_id=os.environ.get("CLOPOS_CLIENT_ID", ""),
            client_secret=os.environ.get("CLOPOS_CLIENT_SECRET", ""),
            brand=os.environ.get("CLOPOS_BRAND", ""),
            integrator_id=os.environ.get("CLOPOS_INTEGRATOR_ID", ""),
            base_url=base_url,
            ca_pem=pathlib.Path(ca_file).read_bytes() if ca_file else None,
            roots=Roots.NONE if ca_file else Roots.BUNDLED,
            log=log_to(logging.getLogger()),
        ) as clopos:
            token = clopos.get_token()
            # The purpose of this example. Never print a token in production: it gives access until it
            # expires.
            print("token:  ", token.value)
            seconds = int(token.expires_in.total_seconds())
            print(f"expires: {token.expires_at:%Y-%m-%d %H:%M:%S} UTC, in {seconds} s")

            url = base_url + "/open-api/v2/venues"
            print("GET", url)
            context = ssl.create_default_context(cafile=ca_file)
            with urlopen(clopos, url, timeout=30, context=context) as response:
                print(str(response.read(), "utf-8"))
    except (Error, ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
