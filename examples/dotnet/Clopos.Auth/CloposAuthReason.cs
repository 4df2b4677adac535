namespace Clopos.Auth
{
    /// <summary>
    /// Why the service refused a sign-in, as far as its answer says: for messages to people and for
    /// reports, not for decisions. A newer library may give numbers that are not listed here.
    /// </summary>
    public enum CloposAuthReason
    {
        /// <summary>The answer does not say, or it was no refusal.</summary>
        Unknown = 0,

        /// <summary>The store's client id, client secret or brand is wrong.</summary>
        Credentials = 1,

        /// <summary>The integrator is unknown or disabled: every store of this integration fails.</summary>
        Integrator = 2,

        /// <summary>A test integrator with a production brand, or the other way round.</summary>
        Environment = 3,

        /// <summary>The store has switched its Open API access off.</summary>
        Disabled = 4,

        /// <summary>The service found a field of the request missing or empty.</summary>
        MissingField = 5,
    }
}
