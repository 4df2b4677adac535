// The .NET library in an ASP.NET service, with the real IHttpClientFactory, configuration binding, ILogger and health
// checks. Appends its results to the file CLOPOS_TEST_RESULTS, as tests/common.sh does. The environment is that of the
// examples, and names a sandbox.

using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Clopos.Auth;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Http;
using Microsoft.Extensions.Logging;

public static class Hosting
{
    private static readonly (string Name, Func<Task> Run)[] All =
    {
        ("the handler works in IHttpClientFactory, and no redirect is followed", WorksInTheFactory),
        ("the handler works without a factory, with 32 first requests at the same time", WorksAlone),
        ("the response of a request that is sent again is disposed, and the returned one is not", DisposesTheRefusal),
        ("a 401 is disposed if the caller cancels", DisposesTheRefusalOnCancel),
        ("a 401 that never ends is disposed when the time is over", EndsInTimeDespiteAStalledBody),
        ("a 401 in a charset that .NET does not know is understood, and the caller can read it", ReadsAnyCharset),
        ("a chain of handlers without one that sends is refused", RefusesAChainWithoutASender),
        ("the venue is sent to the service only, and a request may name another", SendsTheVenue),
        ("configuration binding sets the settings", BindsSettings),
        ("the health check converts each state", ChecksHealth),
        ("examples/dotnet/Health signs in, logs to ILogger and reports its health; the log has no token", HealthExample),
        ("examples/dotnet/Health reports wrong credentials", HealthExampleWithAWrongSecret),
    };

    public static async Task<int> Main()
    {
        var results = new List<string>();
        foreach ((string name, Func<Task> run) in All)
        {
            string result = "ok";
            try
            {
                await run();
            }
            catch (Exception failure)
            {
                result = "not ok";
                Console.WriteLine("    " + failure.ToString().Replace("\n", "\n    "));
            }
            results.Add($"{result} - .NET: {name}");
            Console.WriteLine(results.Last());
        }
        File.AppendAllLines(Environment.GetEnvironmentVariable("CLOPOS_TEST_RESULTS") ?? "/dev/null", results);
        return results.All(result => result.StartsWith("ok ")) ? 0 : 1;
    }

    private static void Check(bool condition, object? found = null, [CallerLineNumber] int line = 0)
    {
        if (!condition)
        {
            throw new InvalidOperationException($"line {line}: {found}");
        }
    }

    private static async Task<T> Throws<T>(Func<Task> call, [CallerLineNumber] int line = 0)
        where T : Exception
    {
        try
        {
            await call();
        }
        catch (T failure)
        {
            return failure;
        }
        throw new InvalidOperationException($"line {line}: no {typeof(T)}");
    }

    // A server on the loopback: /redirect redirects, every other path returns the headers that it received.
    private static async Task WithServer(Func<Uri, Task> use)
    {
        using IHost server = new HostBuilder().ConfigureWebHost(web => web.UseKestrel().UseUrls("http://127.0.0.1:0")
            .Configure(app => app.Run(context =>
            {
                if (context.Request.Path == "/redirect")
                {
                    context.Response.Redirect("/followed");
                    return Task.CompletedTask;
                }
                IHeaderDictionary headers = context.Request.Headers;
                return context.Response.WriteAsync($"{context.Request.Path} {headers["x-token"]} {headers["x-venue"]}");
            }))).Build();
        await server.StartAsync();
        string url = server.Services.GetRequiredService<Microsoft.AspNetCore.Hosting.Server.IServer>().Features
            .Get<Microsoft.AspNetCore.Hosting.Server.Features.IServerAddressesFeature>().Addresses.Single();
        await use(new Uri(url));
        await server.StopAsync();
    }

    private static async Task ExpectTokenAndNoRedirect(HttpClient http, Uri server)
    {
        Check(await http.GetStringAsync(new Uri(server, "/venues")) == "/venues token-1 ");
        using HttpResponseMessage redirect = await http.GetAsync(new Uri(server, "/redirect"));
        Check(redirect.StatusCode == HttpStatusCode.Redirect, redirect.StatusCode);
    }

    private static Task WorksInTheFactory() => WithServer(async server =>
    {
        var services = new ServiceCollection();
        services.AddSingleton<ICloposTokenSource>(new FakeTokens { BaseUrl = server });
        services.AddTransient<CloposTokenHandler>();
        services.AddHttpClient("primary").ConfigurePrimaryHttpMessageHandler<CloposTokenHandler>();
        services.AddHttpClient("added").AddHttpMessageHandler<CloposTokenHandler>();
        using ServiceProvider provider = services.BuildServiceProvider();
        var factory = provider.GetRequiredService<IHttpClientFactory>();
        foreach (string name in new[] { "primary", "added" })
        {
            await ExpectTokenAndNoRedirect(factory.CreateClient(name), server);
            await ExpectTokenAndNoRedirect(factory.CreateClient(name), server); // the same handlers
        }
    });

    private static Task WorksAlone() => WithServer(async server =>
    {
        using var http = new HttpClient(new CloposTokenHandler(new FakeTokens { BaseUrl = server }));
        await Task.WhenAll(Enumerable.Range(0, 32).Select(_ => Task.Run(() => ExpectTokenAndNoRedirect(http, server))));
    });

    private static async Task DisposesTheRefusal()
    {
        var tokens = new FakeTokens();
        var service = new FakeService("Invalid token", "Invalid token");
        using var http = new HttpClient(new CloposTokenHandler(tokens, service));
        HttpResponseMessage response = await http.GetAsync(new Uri(tokens.BaseUrl, "/venues"));
        Check(response.StatusCode == HttpStatusCode.Unauthorized);
        Check(await response.Content.ReadAsStringAsync() == "Invalid token");
        Check(service.Bodies.Count == 2 && service.Bodies[0].IsDisposed && !service.Bodies[1].IsDisposed);
        Check(tokens.Refused.SequenceEqual(new[] { "token-1" }), string.Join(" ", tokens.Refused));

        // Without a second token the caller gets the 401.
        tokens.Failure = new CloposAuthException(CloposAuthStatus.Rejected, "no");
        tokens.FailFrom = tokens.Given + 2;
        service = new FakeService("Token expired");
        using var again = new HttpClient(new CloposTokenHandler(tokens, service));
        response = await again.GetAsync(new Uri(tokens.BaseUrl, "/venues"));
        Check(await response.Content.ReadAsStringAsync() == "Token expired");
        Check(service.Bodies.Count == 1 && !service.Bodies[0].IsDisposed);
    }

    private static async Task DisposesTheRefusalOnCancel()
    {
        var tokens = new FakeTokens { Failure = new OperationCanceledException(), FailFrom = 2 };
        var service = new FakeService("Invalid token");
        using var http = new HttpClient(new CloposTokenHandler(tokens, service));
        await Throws<OperationCanceledException>(() => http.GetAsync(new Uri(tokens.BaseUrl, "/venues")));
        Check(service.Bodies.Single().IsDisposed);
    }

    private static async Task EndsInTimeDespiteAStalledBody()
    {
        var unobserved = new ConcurrentQueue<string>();
        void Keep(object? sender, UnobservedTaskExceptionEventArgs failure) => unobserved.Enqueue($"{failure.Exception}");
        TaskScheduler.UnobservedTaskException += Keep;
        var tokens = new FakeTokens();
        var service = new FakeService("Invalid token") { Stalls = true };
        using var http = new HttpClient(new CloposTokenHandler(tokens, service)) { Timeout = TimeSpan.FromMilliseconds(200) };
        await EndsCancelled(http.GetAsync(new Uri(tokens.BaseUrl, "/venues")));
        Check(service.Bodies.Single().IsDisposed && tokens.Refused.IsEmpty);
        // So does a request whose own body stalls.
        await EndsCancelled(http.PostAsync(new Uri(tokens.BaseUrl, "/venues"), new Body("") { Stalls = true }));
        service.Bodies.Clear();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        TaskScheduler.UnobservedTaskException -= Keep;
        Check(!unobserved.Any(failure => failure.Contains("the body was disposed")), string.Join("\n", unobserved));
    }

    // Within 20 s.
    private static async Task EndsCancelled(Task call)
    {
        Check(await Task.WhenAny(call, Task.Delay(20_000)) == call, "not within 20 s");
        await Throws<OperationCanceledException>(() => call);
    }

    private static async Task ReadsAnyCharset()
    {
        var tokens = new FakeTokens();
        var service = new FakeService("Invalid token", "Token expired", "\u0412\u0445\u043e\u0434") { CharSet = "windows-1251" };
        using var http = new HttpClient(new CloposTokenHandler(tokens, service));
        HttpResponseMessage response = await http.GetAsync(new Uri(tokens.BaseUrl, "/venues"));
        Check(response.StatusCode == HttpStatusCode.Unauthorized && tokens.Refused.Single() == "token-1");
        response = await http.GetAsync(new Uri(tokens.BaseUrl, "/venues"));
        Check(response.StatusCode == HttpStatusCode.Unauthorized && tokens.Refused.Count == 1);
        Check((await response.Content.ReadAsByteArrayAsync()).Length == 8);
    }

    private static async Task RefusesAChainWithoutASender()
    {
        var tokens = new FakeTokens();
        await Throws<ArgumentException>(() => Task.FromResult(new CloposTokenHandler(tokens, new PassesOn())));
        // A factory sets the inner handler later.
        using var http = new HttpClient(new CloposTokenHandler(tokens) { InnerHandler = new PassesOn() });
        Exception failure = await Throws<ArgumentException>(() => http.GetAsync(tokens.BaseUrl));
        Check(failure.Message.Contains("no handler that sends"), failure.Message);
    }

    private static Task SendsTheVenue() => WithServer(async server =>
    {
        var tokens = new FakeTokens { BaseUrl = server };
        using var http = new HttpClient(new CloposTokenHandler(tokens) { Venue = "7" });
        Check(await http.GetStringAsync(new Uri(server, "/a")) == "/a token-1 7");
        using var other = new HttpRequestMessage(HttpMethod.Get, new Uri(server, "/b"));
        other.Headers.Add("x-venue", "8");
        Check(await (await http.SendAsync(other)).Content.ReadAsStringAsync() == "/b token-1 8");
        // The same server by another name is another host.
        var elsewhere = new UriBuilder(server) { Host = "localhost" }.Uri;
        Check(await http.GetStringAsync(new Uri(elsewhere, "/c")) == "/c  ");
    });

    private static Task BindsSettings()
    {
        var values = new Dictionary<string, string>
        {
            ["ClientId"] = "id",
            ["ClientSecret"] = "secret",
            ["Brand"] = "brand",
            ["IntegratorId"] = "integrator",
            ["BaseUrl"] = "https://service.test",
            ["AuthPath"] = "/v3/auth",
            ["Timeout"] = "00:00:20",
            ["AttemptTimeout"] = "00:00:05",
            ["MaxAttempts"] = "2",
            ["RequestsPerMinute"] = "20",
            ["Roots"] = "None",
            ["CaFile"] = "/etc/ca.pem",
            ["Proxy"] = "http://user:password@proxy.test",
            ["UserAgent"] = "Till/4.2",
            ["AllowPlainHttp"] = "true",
            ["LogLevel"] = "Debug",
        };
        CloposAuthSettings settings = new ConfigurationBuilder()
            .AddInMemoryCollection(values.ToDictionary(value => "Clopos:" + value.Key, value => value.Value)).Build()
            .GetSection("Clopos").Get<CloposAuthSettings>();
        // CaPem is bytes, Log is a function.
        Check(typeof(CloposAuthSettings).GetProperties().Length == values.Count + 2);
        foreach ((string name, string expected) in values)
        {
            object? found = typeof(CloposAuthSettings).GetProperty(name)!.GetValue(settings);
            string shown = found is CloposSecret secret ? secret.Reveal() : found?.ToString() ?? "";
            Check(shown.Equals(expected, StringComparison.OrdinalIgnoreCase), name + "=" + shown);
        }
        return Task.CompletedTask;
    }

    private static Task ChecksHealth()
    {
        TimeSpan second = TimeSpan.FromSeconds(1);
        foreach ((HealthStatus expected, CloposAuthState state) in new[]
        {
            (HealthStatus.Healthy, new CloposAuthState()),
            (HealthStatus.Healthy, new CloposAuthState { HasToken = true, LastResultAge = second }),
            (HealthStatus.Degraded, new CloposAuthState
            {
                HasToken = true, LastResultAge = second, LastStatus = CloposAuthStatus.Server,
            }),
            (HealthStatus.Unhealthy, new CloposAuthState { LastResultAge = second, LastStatus = CloposAuthStatus.Dns }),
            (HealthStatus.Healthy, new CloposAuthState { LastResultAge = second }), // invalidated
        })
        {
            HealthCheckResult result = CloposHealthCheck.Result(state);
            Check(result.Status == expected, $"{result.Status} {result.Description}");
        }
        return Task.CompletedTask;
    }

    // Runs the example with the sandbox. Calls `use` with an HTTP client for it, its log lines, and its client.
    private static async Task WithHealthExample(
        string secret, Func<HttpClient, ConcurrentQueue<string>, CloposAuthClient, Task> use)
    {
        string Env(string name) => Environment.GetEnvironmentVariable(name) ?? throw new InvalidOperationException(name);
        var lines = new Lines();
        using IHost example = Host.CreateDefaultBuilder()
            .ConfigureLogging(logging => logging.ClearProviders().AddProvider(lines).SetMinimumLevel(LogLevel.Trace))
            .ConfigureAppConfiguration(configuration => configuration.AddInMemoryCollection(new Dictionary<string, string>
            {
                ["Clopos:ClientId"] = Env("CLOPOS_CLIENT_ID"),
                ["Clopos:ClientSecret"] = secret,
                ["Clopos:Brand"] = Env("CLOPOS_BRAND"),
                ["Clopos:IntegratorId"] = Env("CLOPOS_INTEGRATOR_ID"),
                ["Clopos:BaseUrl"] = Env("CLOPOS_BASE_URL"),
                ["Clopos:CaFile"] = Env("CLOPOS_CA_FILE"),
                ["Clopos:Roots"] = "None",
                ["Clopos:LogLevel"] = "Debug",
            }))
            .ConfigureWebHostDefaults(web => web.UseUrls("http://127.0.0.1:0")
                .ConfigureServices(Program.AddServices)
                // Only the library knows the sandbox's CA.
                .ConfigureServices(services => services.Configure<HttpClientFactoryOptions>("clopos", options =>
                    options.HttpMessageHandlerBuilderActions.Add(builder =>
                        ((DelegatingHandler)builder.PrimaryHandler).InnerHandler = new HttpClientHandler
                        {
                            ServerCertificateCustomValidationCallback = (a, b, c, d) => true,
                        })))
                .Configure(Program.AddPages))
            .Build();
        await example.StartAsync();
        string url = example.Services.GetRequiredService<Microsoft.AspNetCore.Hosting.Server.IServer>().Features
            .Get<Microsoft.AspNetCore.Hosting.Server.Features.IServerAddressesFeature>().Addresses.Single();
        using var http = new HttpClient { BaseAddress = new Uri(url) };
        await use(http, lines.Seen, example.Services.GetRequiredService<CloposAuthClient>());
        await example.StopAsync();
    }

    private static async Task<(HttpStatusCode Status, JsonElement Check)> Health(HttpClient http)
    {
        using HttpResponseMessage response = await http.GetAsync("/health");
        JsonElement json = JsonDocument.Parse(await response.Content.ReadAsStringAsync()).RootElement;
        return (response.StatusCode, json.GetProperty("clopos"));
    }

    private static Task HealthExample() => WithHealthExample(
        Environment.GetEnvironmentVariable("CLOPOS_CLIENT_SECRET") ?? "", async (http, lines, client) =>
        {
            (HttpStatusCode status, JsonElement check) = await Health(http);
            Check(status == HttpStatusCode.OK && check.GetProperty("Description").GetString() == "not signed in yet", check);
            Check(check.GetProperty("Data").GetProperty("requests").GetInt64() == 0, check);

            string venues = await http.GetStringAsync("/venues");
            Check(venues.Contains("\"success\":true"), venues);
            (status, check) = await Health(http);
            Check(status == HttpStatusCode.OK && check.GetProperty("Description").GetString() == "signed in", check);
            Check(check.GetProperty("Data").GetProperty("requests").GetInt64() == 1, check);
            Check(check.GetProperty("Data").GetProperty("expires_in_s").GetDouble() > 3500, check);
            Check(lines.Any(line => line.StartsWith("Debug ") && line.Contains("sending request to localhost")), string.Join("\n", lines));
            Check(lines.Any(line => line.StartsWith("Information ") && line.Contains("signed in")), string.Join("\n", lines));
            // IHttpClientFactory logs the headers of the requests.
            Check(lines.Any(line => line.StartsWith("Trace Request Headers:")), string.Join("\n", lines));
            string token = client.GetToken().Value.Reveal();
            Check(lines.All(line => !line.Contains(token)), string.Join("\n", lines).Replace(token, "<TOKEN>"));
        });

    private static Task HealthExampleWithAWrongSecret() => WithHealthExample("wrong-secret", async (http, lines, client) =>
    {
        using HttpResponseMessage response = await http.GetAsync("/venues");
        Check(response.StatusCode == HttpStatusCode.InternalServerError);
        (HttpStatusCode status, JsonElement check) = await Health(http);
        Check(status == HttpStatusCode.ServiceUnavailable, status);
        Check(check.GetProperty("Status").GetString() == "Unhealthy", check);
        Check(check.GetProperty("Data").GetProperty("last_failure").GetString().Length != 0, check);
        Check(!check.ToString().Contains("wrong-secret") && lines.All(line => !line.Contains("wrong-secret")));
        Check(lines.Any(line => line.StartsWith("Error ") && line.Contains("attempt 1 failed")), string.Join("\n", lines));
    });

    private sealed class FakeTokens : ICloposTokenSource
    {
        private int given;

        public Uri BaseUrl { get; set; } = new Uri("https://service.test");

        // Thrown by the calls from FailFrom on.
        internal Exception? Failure { get; set; }

        internal int FailFrom { get; set; } = int.MaxValue;

        internal int Given => given;

        internal ConcurrentQueue<string> Refused { get; } = new ConcurrentQueue<string>();

        public Task<CloposToken> GetTokenAsync(CancellationToken cancellationToken = default) =>
            Interlocked.Increment(ref given) >= FailFrom
                ? Task.FromException<CloposToken>(Failure!)
                : Task.FromResult(new CloposToken($"token-{Refused.Count + 1}", TimeSpan.FromHours(1)));

        public void Invalidate(CloposToken refused) => Refused.Enqueue(refused.Value.Reveal());
    }

    // Answers 401 with these bodies.
    private sealed class FakeService : HttpMessageHandler
    {
        private readonly Queue<string> refusals;

        internal FakeService(params string[] refusals) => this.refusals = new Queue<string>(refusals);

        internal List<Body> Bodies { get; } = new List<Body>();

        internal bool Stalls { get; set; }

        internal string CharSet { get; set; } = "utf-8";

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Bodies.Add(new Body(refusals.Dequeue()) { Stalls = Stalls });
            Bodies.Last().Headers.ContentType.CharSet = CharSet;
            return Task.FromResult(new HttpResponseMessage(HttpStatusCode.Unauthorized) { Content = Bodies.Last() });
        }
    }

    private sealed class Body : StringContent
    {
        private readonly TaskCompletionSource<bool> stalled = new TaskCompletionSource<bool>();

        internal Body(string text)
            : base(text)
        {
        }

        internal bool IsDisposed { get; private set; }

        // Reading it then ends, as a failure, when it is disposed.
        internal bool Stalls { get; set; }

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            Stalls ? stalled.Task : base.SerializeToStreamAsync(stream, context);

        protected override void Dispose(bool disposing)
        {
            IsDisposed = true;
            if (Stalls)
            {
                stalled.TrySetException(new IOException("the body was disposed"));
            }
            base.Dispose(disposing);
        }
    }

    private sealed class PassesOn : DelegatingHandler
    {
    }

    // Keeps every line, followed by the values that a structured logger would write.
    private sealed class Lines : ILoggerProvider, ILogger
    {
        internal ConcurrentQueue<string> Seen { get; } = new ConcurrentQueue<string>();

        public ILogger CreateLogger(string category) => this;

        public void Log<T>(LogLevel level, EventId id, T state, Exception? failure, Func<T, Exception?, string> format)
        {
            IEnumerable<object> values = state is IEnumerable<KeyValuePair<string, object>> pairs
                ? pairs.Select(pair => pair.Value is IEnumerable<string> many ? string.Join(" ", many) : pair.Value)
                : Enumerable.Empty<object>();
            Seen.Enqueue($"{level} {format(state, failure)} {string.Join(" ", values)}");
        }

        public bool IsEnabled(LogLevel level) => true;

        public IDisposable BeginScope<T>(T state) => this;

        public void Dispose()
        {
        }
    }
}
