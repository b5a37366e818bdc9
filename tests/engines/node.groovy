// One node of OpenSearch with the settings that the properties file `args[0]` holds, at home in the folder `args[1]`,
// until it is stopped. With `tls.keystore` and `tls.password`, `auth.user` and `auth.password` in the file it answers
// by TLS only, and only to who gives that user's password: by OpenSearch's own secure transport, which asks a plugin
// for the engine of each connection. The security plugin itself is not among Maven's artifacts.
import java.nio.file.Paths
import java.security.KeyStore
import java.util.function.UnaryOperator
import javax.net.ssl.KeyManagerFactory
import javax.net.ssl.SSLContext
import org.codelibs.opensearch.runner.node.OpenSearchRunnerNode
import org.opensearch.common.logging.LogConfigurator
import org.opensearch.common.settings.Settings
import org.opensearch.common.util.concurrent.ThreadContext
import org.opensearch.core.rest.RestStatus
import org.opensearch.index.mapper.MapperExtrasModulePlugin
import org.opensearch.index.reindex.ReindexModulePlugin
import org.opensearch.node.InternalSettingsPreparer
import org.opensearch.plugins.ActionPlugin
import org.opensearch.plugins.Plugin
import org.opensearch.plugins.SecureHttpTransportSettingsProvider
import org.opensearch.plugins.SecureSettingsFactory
import org.opensearch.rest.BytesRestResponse
import org.opensearch.rest.RestChannel
import org.opensearch.rest.RestHandler
import org.opensearch.rest.RestRequest
import org.opensearch.transport.Netty4ModulePlugin
import org.opensearch.transport.client.node.NodeClient

class Door extends Plugin implements ActionPlugin {
    static Properties given

    Optional<SecureSettingsFactory> getSecureSettingFactory(Settings settings) {
        Optional.of([
            getSecureTransportSettingsProvider: { Settings s -> Optional.empty() },
            getSecureAuxTransportSettingsProvider: { Settings s -> Optional.empty() },
            getSecureHttpTransportSettingsProvider: { Settings s -> Optional.of(provider()) },
        ] as SecureSettingsFactory)
    }

    static SecureHttpTransportSettingsProvider provider() {
        def password = given['tls.password'].toCharArray()
        def store = KeyStore.getInstance('PKCS12')
        new File(given['tls.keystore']).withInputStream { store.load(it, password) }
        def keys = KeyManagerFactory.getInstance(KeyManagerFactory.defaultAlgorithm)
        keys.init(store, password)
        def context = SSLContext.getInstance('TLS')
        context.init(keys.keyManagers, null, null)
        [
            getHttpTransportAdapterProviders: { Settings s -> [] },
            parameters: { Settings s -> Optional.empty() },
            buildHttpServerExceptionHandler: { Settings s, t -> Optional.empty() },
            buildSecureHttpServerEngine: { Settings s, t ->
                def engine = context.createSSLEngine()
                engine.useClientMode = false
                Optional.of(engine)
            },
        ] as SecureHttpTransportSettingsProvider
    }

    UnaryOperator<RestHandler> getRestHandlerWrapper(ThreadContext context) {
        def wanted = 'Basic ' + "${given['auth.user']}:${given['auth.password']}".toString().bytes.encodeBase64()
        return { RestHandler inner -> new Asking(inner, wanted) } as UnaryOperator<RestHandler>
    }
}

class Asking implements RestHandler {
    @Delegate(excludes = ['handleRequest']) RestHandler inner
    String wanted

    Asking(RestHandler inner, String wanted) {
        this.inner = inner
        this.wanted = wanted
    }

    void handleRequest(RestRequest request, RestChannel channel, NodeClient client) {
        if (request.header('Authorization') == wanted) {
            inner.handleRequest(request, channel, client)
            return
        }
        def answer = new BytesRestResponse(RestStatus.UNAUTHORIZED, 'Unauthorized')
        answer.addHeader('WWW-Authenticate', 'Basic realm="OpenSearch Security"')
        channel.sendResponse(answer)
    }
}

def given = new Properties()
new File(args[0]).withInputStream { given.load(it) }
Door.given = given
def secure = given.containsKey('tls.keystore')
def settings = Settings.builder()
given.findAll { name, _ -> !(name =~ /^(tls|auth)\./) }.each { name, value ->
    value.contains(',') ? settings.putList(name, value.split(',')) : settings.put(name, value)
}
if (secure) {
    settings.put('http.type', 'netty4-secure')
}
settings.put('path.home', args[1])
def config = Paths.get(args[1], 'config')
def environment = InternalSettingsPreparer.prepareEnvironment(settings.build(), [:], config, { 'node' })
LogConfigurator.registerErrorListener()
LogConfigurator.configure(environment)
def plugins = [Netty4ModulePlugin, MapperExtrasModulePlugin, ReindexModulePlugin] + (secure ? [Door] : [])
def node = new OpenSearchRunnerNode(environment, plugins)
Runtime.runtime.addShutdownHook(new Thread({ node.close() }))
node.start()
Thread.currentThread().join()
