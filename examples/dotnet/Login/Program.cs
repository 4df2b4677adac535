// Signs in to Clopos, shows the token, and requests the venues with it.
//
// CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND and CLOPOS_INTEGRATOR_ID are the credentials. For the
// sandbox: CLOPOS_BASE_URL is its URL, CLOPOS_CA_FILE its CA in PEM, the only one trusted.

using System;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Threading;
using System.Threading.Tasks;
using Clopos.Auth;

internal static class Program
{
    private static async Task<int> Main()
    {
        using var interrupted = new CancellationTokenSource();
        Console.CancelKeyPress += (_, pressed) =>
        {
            pressed.Cancel = true;
            interrupted.Cancel();
        };
        try
        {
            using var clopos = new CloposAuthClient(SettingsFromEnvironment());
            ShowToken(await clopos.GetTokenAsync(interrupted.Token));
            return await ShowVenues(clopos, interrupted.Token) ? 0 : 1;
        }
        catch (Exception failure) when (failure is CloposAuthException || failure is HttpRequestException
            || failure is IOException || failure is OperationCanceledException)
        {
            Console.Error.WriteLine(failure.Message);
        }
        return 1;
    }

    private static CloposAuthSettings SettingsFromEnvironment()
    {
        // A variable that is not set is empty: the library refuses it, and names it in its error.
        var settings = new CloposAuthSettings(
            Variable("CLOPOS_CLIENT_ID") ?? "", Variable("CLOPOS_CLIENT_SECRET") ?? "",
            Variable("CLOPOS_BRAND") ?? "", Variable("CLOPOS_INTEGRATOR_ID") ?? "")
        {
            BaseUrl = Variable("CLOPOS_BASE_URL") ?? CloposAuthSettings.DefaultBaseUrl,
            UserAgent = "clopos-login-example/1.0",
            Log = (level, line) => Console.Error.WriteLine($"{level}: {line}"),
        };
        if (Variable("CLOPOS_CA_FILE") is string caFile)
        {
            settings.CaFile = caFile;
            settings.Roots = CloposRoots.None;
        }
        return settings;
    }

    // Prints a token, which is the purpose of this example. Never print one in production: it gives access until it
    // expires.
    private static void ShowToken(CloposToken token)
    {
        Console.WriteLine($"token:   {token.Value.Reveal()}");
        Console.WriteLine($"expires: {token.ExpiresAt:yyyy-MM-dd HH:mm:ss} UTC, in {token.ExpiresIn.TotalSeconds} s");
    }

    // How a program uses tokens: the handler adds them.
    private static async Task<bool> ShowVenues(CloposAuthClient clopos, CancellationToken cancellationToken)
    {
        using var inner = new HttpClientHandler();
        if (Variable("CLOPOS_CA_FILE") is string caFile)
        {
            var ca = new X509Certificate2(caFile);
            inner.ServerCertificateCustomValidationCallback =
                (_, certificate, chain, problems) => IsIssuedBy(ca, certificate, problems);
        }
        using var http = new HttpClient(new CloposTokenHandler(clopos, inner));
        var url = new Uri(clopos.BaseUrl, "/open-api/v2/venues");
        Console.WriteLine($"GET {url}");
        using HttpResponseMessage response = await http.GetAsync(url, cancellationToken);
        if (!response.IsSuccessStatusCode)
        {
            Console.Error.WriteLine($"{url}: {(int)response.StatusCode} {response.ReasonPhrase}");
            return false;
        }
        Console.WriteLine(await response.Content.ReadAsStringAsync());
        return true;
    }

    // For the sandbox, whose CA is not in the system's store: whether this CA has issued its certificate.
    private static bool IsIssuedBy(
        X509Certificate2 ca, X509Certificate2? certificate, SslPolicyErrors problems)
    {
        if (certificate is null || (problems & ~SslPolicyErrors.RemoteCertificateChainErrors) != 0)
        {
            return false;
        }
        using var chain = new X509Chain();
        chain.ChainPolicy.ExtraStore.Add(ca);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.VerificationFlags = X509VerificationFlags.AllowUnknownCertificateAuthority;
        return chain.Build(certificate) &&
            chain.ChainElements.Cast<X509ChainElement>().Last().Certificate.Thumbprint == ca.Thumbprint;
    }

    private static string? Variable(string name)
    {
        string? value = Environment.GetEnvironmentVariable(name);
        return string.IsNullOrEmpty(value) ? null : value;
    }
}
