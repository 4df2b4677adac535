namespace Clopos.Auth
{
    /// <summary>
    /// Why the service refused a sign-in, if its response tells: for messages to people and for reports, not for
    /// decisions. A newer library may return a number that is not listed here.
    /// </summary>
    public enum CloposAuthReason
    {
        /// <summary>The response does not tell, or the status is not Rejected.</summary>
        Unknown = 0,

        /// <summary>Client id, client secret or brand is wrong.</summary>
        Credentials = 1,

        /// <summary>The integrator id is unknown or disabled: every store of this integration fails.</summary>
        Integrator = 2,

        /// <summary>A test integrator id with a production brand, or the other way round.</summary>
        Environment = 3,

        /// <summary>The store has switched off its Open API access.</summary>
        Disabled = 4,

        /// <summary>The service found a field of the request missing or empty.</summary>
        MissingField = 5,
    }
}
