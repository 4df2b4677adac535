using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Clopos.Auth;
using Microsoft.Extensions.Diagnostics.HealthChecks;

/// <summary>
/// Reports the state of the sign-in to Clopos. Healthy: there is a token, or none was requested yet. Degraded: the
/// last request failed, but there is a valid token. Unhealthy: the last request failed, and there is no token. Sends
/// no request.
/// </summary>
public sealed class CloposHealthCheck : IHealthCheck
{
    private readonly CloposAuthClient clopos;

    public CloposHealthCheck(CloposAuthClient clopos) => this.clopos = clopos;

    public Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(Result(clopos.GetState()));

    /// <summary>Converts the state of a client.</summary>
    public static HealthCheckResult Result(CloposAuthState state)
    {
        var data = new Dictionary<string, object>
        {
            ["requests"] = state.Requests,
            ["failures"] = state.Failures,
            ["next_request_in_s"] = state.NextRequestIn.TotalSeconds,
        };
        if (state.ExpiresIn is System.TimeSpan left)
        {
            data["expires_in_s"] = left.TotalSeconds;
        }
        bool failed = state.LastResultAge != null && state.LastStatus != CloposAuthStatus.Ok;
        if (failed)
        {
            data["last_failure"] = state.LastMessage ?? "";
        }
        if (state.HasToken)
        {
            return failed
                ? HealthCheckResult.Degraded("the refresh failed; the token is still valid", data: data)
                : HealthCheckResult.Healthy("signed in", data);
        }
        return failed
            ? HealthCheckResult.Unhealthy($"no token: {state.LastStatus}", data: data)
            : HealthCheckResult.Healthy("not signed in yet", data);
    }
}
