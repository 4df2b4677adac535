// A service with a page /health, and a page /venues that requests the venues from Clopos.
//
// The credentials come from appsettings.json or the environment (Clopos__ClientId, Clopos__ClientSecret, Clopos__Brand,
// Clopos__IntegratorId).

using System.Linq;
using System.Net.Http;
using System.Text.Json;
using Clopos.Auth;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

public static class Program
{
    public static void Main(string[] arguments) =>
        Host.CreateDefaultBuilder(arguments)
            .ConfigureWebHostDefaults(web => web.ConfigureServices(AddServices).Configure(AddPages))
            .Build()
            .Run();

    /// <summary>The client, an HttpClient that sends its token, and a health check.</summary>
    public static void AddServices(WebHostBuilderContext context, IServiceCollection services)
    {
        services.AddSingleton(provider =>
        {
            var logger = provider.GetRequiredService<ILogger<CloposAuthClient>>();
            // A missing credential is empty: the library refuses it, and names it in its error.
            var settings = context.Configuration.GetSection("Clopos").Get<CloposAuthSettings>() ?? new CloposAuthSettings();
            settings.Log = (level, line) => logger.Log((LogLevel)(5 - (int)level), "{Line}", line);
            return new CloposAuthClient(settings);
        });
        services.AddSingleton<ICloposTokenSource>(provider => provider.GetRequiredService<CloposAuthClient>());
        services.AddTransient<CloposTokenHandler>();
        services.AddHttpClient("clopos", (provider, http) =>
                http.BaseAddress = provider.GetRequiredService<ICloposTokenSource>().BaseUrl)
            // Not AddHttpMessageHandler: at level Trace the factory would log the token.
            .ConfigurePrimaryHttpMessageHandler<CloposTokenHandler>();
        services.AddHealthChecks().AddCheck<CloposHealthCheck>("clopos");
    }

    /// <summary>The two pages.</summary>
    public static void AddPages(IApplicationBuilder app) =>
        app.UseRouting().UseEndpoints(pages =>
        {
            pages.MapHealthChecks("/health", new HealthCheckOptions
            {
                ResponseWriter = (context, report) =>
                {
                    context.Response.ContentType = "application/json";
                    return context.Response.WriteAsync(Json(report));
                },
            });
            pages.MapGet("/venues", async context =>
            {
                HttpClient http = context.RequestServices.GetRequiredService<IHttpClientFactory>().CreateClient("clopos");
                await context.Response.WriteAsync(await http.GetStringAsync("/open-api/v2/venues"));
            });
        });

    private static string Json(HealthReport report) =>
        JsonSerializer.Serialize(report.Entries.ToDictionary(entry => entry.Key, entry => new
        {
            Status = entry.Value.Status.ToString(),
            entry.Value.Description,
            entry.Value.Data,
        }));
}
